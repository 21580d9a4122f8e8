// Checks: see checks.h.
#include "trial/checks.h"

#include <fmt/format.h>
#include <regex.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/digest.h"
#include "base/text.h"

namespace kiln::trial {
namespace {

constexpr std::size_t kSaidLines = 5;
constexpr std::size_t kSaidBytes = 1000;

std::string shell_word(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string tail(std::string_view text) {
  std::string lines = last_lines(text, kSaidLines);
  if (lines.size() > kSaidBytes) lines = "..." + lines.substr(lines.size() - kSaidBytes);
  return lines;
}

// "Name=value" lines.
std::map<std::string, std::string> properties(const std::string& text) {
  std::map<std::string, std::string> all;
  for (const std::string& line : split(text, '\n')) {
    const auto equals = line.find('=');
    if (equals != std::string::npos) all.emplace(line.substr(0, equals), line.substr(equals + 1));
  }
  return all;
}

// What can be said of a question that had no answer; empty when it had one.
std::string unanswered(const machine::CommandEnd& answer) {
  using How = machine::CommandEnd::How;
  switch (answer.how) {
    case How::exited:
      return {};
    case How::timed_out:
      return "it took too long and was ended" + (answer.err.empty() ? "" : ": " + tail(answer.err));
    case How::cancelled:
      return "it was cancelled";
    case How::undelivered:
      return "the instance's init could not be asked: " + (answer.err.empty() ? "no answer" : tail(answer.err));
    case How::lost:
      return "the instance ended under it";
  }
  return {};
}

struct Question {
  const std::vector<std::string>& writable;

  std::string operator()(const spec::UnitCheck& check) const {
    const std::string unit = shell_word(check.unit);
    return fmt::format(
        "systemctl show -p LoadState -p ActiveState -p SubState -p Result -- {0}\necho ---\n"
        "systemctl is-active --quiet -- {0} || journalctl --unit {0} --lines 5 --no-pager --output cat "
        "2>/dev/null\n:\n",
        unit);
  }
  std::string operator()(const spec::PortsCheck&) const { return "cat /proc/net/tcp /proc/net/tcp6 2>/dev/null\n:\n"; }
  std::string operator()(const spec::HttpCheck&) const { return {}; }
  std::string operator()(const spec::RunCheck& check) const { return "set -e\n" + join(check.commands, "\n") + "\n"; }
  std::string operator()(const spec::BootCheck&) const { return kReadyQuestion; }
  // smaps_rollup gives each process its share of what it has in common with others, so the sum counts nothing twice.
  // The kernel's own memory and the cache of files, which goes when others need it, are not in it.
  std::string operator()(const spec::MemoryCheck&) const {
    return "total=0\nfor file in /proc/[0-9]*/smaps_rollup; do\n  case $file in /proc/$$/*) continue;; esac\n"
           "  while read -r key value unit; do [ \"$key\" = Pss: ] && total=$((total + value)); done <\"$file\"\n"
           "done 2>/dev/null\necho \"$total\"\n";
  }
  std::string operator()(const spec::FileCheck& check) const {
    std::string script = fmt::format(
        "file={}\nif [ ! -e \"$file\" ]; then [ -L \"$file\" ] && echo dangling || echo absent; exit 0; fi\n"
        "stat -L -c '%a|%u:%g|%U:%G|%F' -- \"$file\"\n",
        shell_word(check.path));
    if (check.content || !check.sha256.empty()) script += "[ -f \"$file\" ] && sha256sum <\"$file\"\n";
    if (!check.contains.empty()) {
      script += fmt::format("[ -f \"$file\" ] && grep -q -F -e {} -- \"$file\" && echo contains\n",
                            shell_word(check.contains));
    }
    return script + ":\n";
  }
  std::string operator()(const spec::NoSecretsCheck&) const { return {}; }
  std::string operator()(const spec::ReadOnlyCheck&) const {
    return "writable=" + shell_word(" " + join(writable, " ") + " ") +
           "\nfor folder in / /bin /boot /etc /home /lib /opt /root /sbin /srv /usr /usr/bin /usr/lib /usr/local /var "
           "/var/lib; do\n  [ -d \"$folder\" ] || continue\n  case $writable in *\" $folder \"*) continue;; esac\n"
           "  probe=${folder%/}/.kiln-write-probe\n"
           "  if (: >\"$probe\") 2>/dev/null; then rm -f \"$probe\"; echo \"$folder\"; fi\ndone\n:\n";
  }
};

struct Listener {
  int port = 0;
  bool outside = false;  // on an address that is not loopback
};

// Lines of /proc/net/tcp and tcp6: "0: 0100007F:0050 00000000:0000 0A ...", state 0A is LISTEN; an address is hex in
// the host's order, four bytes at a time.
std::vector<Listener> listeners_in(const std::string& text) {
  std::vector<Listener> found;
  for (const std::string& line : split(text, '\n')) {
    std::vector<std::string> words;
    for (std::string& word : split(line, ' ')) {
      if (!word.empty()) words.push_back(std::move(word));
    }
    if (words.size() < 4 || words[3] != "0A") continue;
    const auto colon = words[1].find(':');
    if (colon == std::string::npos || words[1].size() != colon + 5) continue;
    const std::string address = words[1].substr(0, colon);
    const bool loopback = address.size() == 8
                              ? address.ends_with("7F")
                              : address == "00000000000000000000000001000000" ||
                                    (address.starts_with("0000000000000000FFFF0000") && address.ends_with("7F"));
    try {
      found.push_back({std::stoi(words[1].substr(colon + 1), nullptr, 16), !loopback});
    } catch (const std::logic_error&) {
      continue;  // the guest's text
    }
  }
  return found;
}

struct Judge {
  const machine::CommandEnd& answer;

  Finding operator()(const spec::UnitCheck& check) const {
    auto all = properties(answer.out);
    const std::string& active = all["ActiveState"];
    if (active == "active") return {true, "active (" + all["SubState"] + ")"};
    if (all["LoadState"] == "not-found") return {false, fmt::format("there is no unit {}", check.unit)};
    std::string said = fmt::format("{} ({}), not active", active.empty() ? "unknown" : active, all["SubState"]);
    if (!all["Result"].empty() && all["Result"] != "success") said += ", result " + all["Result"];
    const auto dashes = answer.out.find("---\n");
    const std::string log = dashes == std::string::npos ? "" : tail(answer.out.substr(dashes + 4));
    if (!log.empty()) said += ":\n" + log;
    return {false, said, active == "activating" || active == "reloading"};
  }

  Finding operator()(const spec::PortsCheck& check) const {
    std::set<int> outside, inside;
    for (const Listener& one : listeners_in(answer.out)) (one.outside ? outside : inside).insert(one.port);
    std::vector<std::string> wrong;
    bool missing = false;
    for (const int port : check.ports) {
      if (outside.contains(port)) continue;
      missing = true;
      wrong.push_back(inside.contains(port) ? fmt::format("port {} listens on a loopback address only", port)
                                            : fmt::format("nothing listens on port {}", port));
    }
    bool more = false;
    for (const int port : outside) {
      if (!check.only || std::ranges::find(check.ports, port) != check.ports.end()) continue;
      more = true;
      wrong.push_back(fmt::format("port {} listens too", port));
    }
    if (wrong.empty()) return {true, fmt::format("listening: {}", fmt::join(outside, " "))};
    return {false, join(wrong, ", "), missing && !more};
  }

  Finding operator()(const spec::HttpCheck&) const { return {}; }

  Finding operator()(const spec::RunCheck& check) const {
    if (answer.status != check.status) {
      std::string said = fmt::format("exit status {}, not {}", answer.status, check.status);
      const std::string why = tail(answer.err.empty() ? answer.out : answer.err);
      return {false, why.empty() ? said : said + ": " + why};
    }
    if (!check.output.empty() && !found_in(check.output, answer.out)) {
      return {false, fmt::format("'{}' is not in its output: {}", check.output,
                                 answer.out.empty() ? "there is none" : tail(answer.out))};
    }
    return {true, fmt::format("exit status {}", answer.status)};
  }

  Finding operator()(const spec::BootCheck& check) const {
    const Ready ready = read_ready(answer);
    if (!ready.ready) return {false, "the boot did not end"};
    return {ready.boot <= check.most, fmt::format("booted in {}", format_seconds(ready.boot))};
  }

  Finding operator()(const spec::MemoryCheck& check) const {
    const auto kib = parse_int(trim(answer.out));
    if (!kib) return {false, "the instance's processes could not be measured: " + tail(answer.err)};
    const auto bytes = static_cast<std::uint64_t>(*kib) << 10;
    return {bytes <= check.bytes_most, format_bytes(bytes) + " held by its processes"};
  }

  Finding operator()(const spec::FileCheck& check) const {
    const std::vector<std::string> lines = split(trim(answer.out), '\n');
    if (lines[0] == "absent") return {check.absent, "not there"};
    if (lines[0] == "dangling") return {false, "it is a link that leads nowhere"};
    if (check.absent) return {false, "it is there"};
    const std::vector<std::string> facts = split(lines[0], '|');
    if (facts.size() != 4) return {false, "it could not be read: " + tail(answer.err)};
    std::vector<std::string> wrong;
    const std::string mode = fmt::format("{:0>4}", facts[0]);
    if (check.mode && mode != fmt::format("{:04o}", *check.mode)) wrong.push_back("mode " + mode);
    if (!check.owner.empty()) check_owner(check.owner, facts[1], facts[2], wrong);
    const std::string digest = check.content ? sha256(*check.content).hex() : check.sha256;
    if (!digest.empty() && !answer_has(lines, digest)) {
      wrong.push_back(facts[3].find("file") == std::string::npos ? "it is a " + facts[3] : "other content");
    }
    if (!check.contains.empty() && std::ranges::find(lines, "contains") == lines.end()) {
      wrong.push_back(fmt::format("'{}' is in none of its lines", check.contains));
    }
    if (wrong.empty()) return {true, fmt::format("{} {} {}", facts[3], mode, facts[2])};
    return {false, join(wrong, ", ")};
  }

  Finding operator()(const spec::NoSecretsCheck&) const { return {}; }

  Finding operator()(const spec::ReadOnlyCheck&) const {
    const std::string could = std::string(trim(answer.out));
    if (could.empty()) return {true, "nothing could be written"};
    return {false, "could be written: " + join(split(could, '\n'), " ")};
  }

 private:
  // Either side may be names or numbers.
  static void check_owner(const std::string& wanted, const std::string& numbers, const std::string& names,
                          std::vector<std::string>& wrong) {
    const auto want = split(wanted, ':'), by_number = split(numbers, ':'), by_name = split(names, ':');
    for (std::size_t i = 0; i < 2; ++i) {
      if (want[i] != by_number.at(i) && want[i] != by_name.at(i)) {
        wrong.push_back(fmt::format("owner {} ({})", names, numbers));
        return;
      }
    }
  }
  static bool answer_has(const std::vector<std::string>& lines, const std::string& digest) {
    return std::ranges::any_of(lines, [&](const std::string& line) { return line.starts_with(digest); });
  }
};

}  // namespace

// `--wait` returns when the boot has ended, well or not; what it exits with is told by SystemState.
const char* const kReadyQuestion =
    "systemctl is-system-running --wait >/dev/null 2>&1\n"
    "systemctl show -p SystemState -p UserspaceTimestampMonotonic -p FinishTimestampMonotonic\n"
    "echo ---\nsystemctl list-jobs --plain --no-legend --no-pager 2>/dev/null\n:\n";

const char* const kFailedUnitsQuestion =
    "for unit in $(systemctl list-units --failed --plain --no-legend --no-pager | while read -r unit rest; do echo "
    "\"$unit\"; done); do\n  echo \"$unit\"\n"
    "  journalctl --unit \"$unit\" --lines 3 --no-pager --output cat 2>/dev/null | sed 's/^/  /'\ndone\n:\n";

std::string question(const spec::ImageCheck& check, const std::vector<std::string>& writable) {
  return std::visit(Question{writable}, check.action);
}

Finding judge(const spec::ImageCheck& check, const machine::CommandEnd& answer) {
  const std::string none = unanswered(answer);
  if (!none.empty()) return {false, none};
  return std::visit(Judge{answer}, check.action);
}

Finding judge(const spec::HttpCheck& check, const http::Response& answer) {
  if (answer.status != check.status) {
    return {false, fmt::format("answered {}, not {}", answer.status, check.status), true};
  }
  for (const auto& [name, expression] : check.headers) {
    if (!answer.headers.has(name)) return {false, fmt::format("the answer has no header {}", name), true};
    const std::string value(answer.headers.get(name));
    if (!found_in(expression, value)) {
      return {false, fmt::format("'{}' is not in {}: {}", expression, name, value.substr(0, kSaidBytes)), true};
    }
  }
  if (!check.body.empty() && !found_in(check.body, answer.body)) {
    return {false,
            fmt::format("'{}' is not in the body of {} bytes, which begins: {}", check.body, answer.body.size(),
                        trim(answer.body.substr(0, 100))),
            true};
  }
  return {true, fmt::format("answered {}, {} bytes", answer.status, answer.body.size())};
}

Ready read_ready(const machine::CommandEnd& answer) {
  auto all = properties(answer.out);
  Ready ready;
  ready.state = all["SystemState"];
  ready.ready =
      answer.how == machine::CommandEnd::How::exited && (ready.state == "running" || ready.state == "degraded");
  const auto from = parse_int(all["UserspaceTimestampMonotonic"]).value_or(0);
  const auto to = parse_int(all["FinishTimestampMonotonic"]).value_or(0);
  if (to > from) ready.boot = Duration((to - from) / 1000);
  const auto dashes = answer.out.find("---\n");
  if (dashes != std::string::npos) ready.jobs = std::string(trim(answer.out.substr(dashes + 4)));
  return ready;
}

Finding judge_failed_units(const machine::CommandEnd& answer) {
  const std::string none = unanswered(answer);
  if (!none.empty()) return {false, none};
  const std::string failed(trim(answer.out));
  return failed.empty() ? Finding{true, "none"} : Finding{false, "failed: " + failed.substr(0, kSaidBytes)};
}

bool found_in(const std::string& expression, std::string_view text) {
  regex_t compiled;
  if (::regcomp(&compiled, expression.c_str(), REG_EXTENDED | REG_NEWLINE) != 0) return false;
  regmatch_t range{};
  range.rm_so = 0;
  range.rm_eo = static_cast<regoff_t>(text.size());
  const bool found = ::regexec(&compiled, text.data(), 1, &range, REG_STARTEND) == 0;
  ::regfree(&compiled);
  return found;
}

}  // namespace kiln::trial
