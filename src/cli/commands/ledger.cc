// kiln ledger: what was done, by whom and when; and whether anybody changed it since.
#include "ledger/ledger.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/parser.h"

namespace kiln::cli {
namespace {

// "12@sha256:0a1b..", as `kiln ledger head` prints it.
ledger::Head parse_head(const std::string& text) {
  const std::size_t at = text.find('@');
  const auto sequence = parse_int(std::string_view(text).substr(0, at));
  try {
    if (at != std::string::npos && sequence && *sequence >= 0) return {*sequence, Digest::parse(text.substr(at + 1))};
  } catch (const Error&) {
    // No digest: said below, with the rest.
  }
  throw Error(ErrorCode::usage, fmt::format("--head takes NUMBER@DIGEST, and '{}' is none", text),
              "Give what `kiln ledger head` printed, for example 12@sha256: and 64 digits.");
}

int report(const ledger::Verification& result, bool json) {
  if (json) {
    nlohmann::json problems = nlohmann::json::array();
    for (const ledger::Problem& problem : result.problems) {
      problems.push_back({{"kind", ledger::to_string(problem.kind)},
                          {"sequence", problem.sequence},
                          {"entry_kind", problem.entry_kind},
                          {"what", problem.what}});
    }
    say_json(
        {{"ok", result.ok()}, {"entries", result.entries}, {"head", result.head.digest.str()}, {"problems", problems}});
  } else if (result.ok()) {
    say(fmt::format("{} entries, unbroken; head {}@{}", result.entries, result.head.sequence,
                    result.head.digest.str()));
  } else {
    for (const ledger::Problem& problem : result.problems) {
      say(fmt::format("entry {} ({}) {}: {}", problem.sequence, problem.entry_kind.empty() ? "?" : problem.entry_kind,
                      ledger::to_string(problem.kind), problem.what));
    }
  }
  return result.ok() ? 0 : 6;
}

// The body as one line, cut, with what a person looks for first: entries keep their fields in alphabetical order.
std::string telling(const std::string& body) {
  constexpr std::size_t kBytesMax = 160;
  const nlohmann::json whole = nlohmann::json::parse(body, nullptr, false);
  if (!whole.is_object()) return body.substr(0, kBytesMax);
  nlohmann::ordered_json ordered;
  for (const char* key : {"outcome", "why", "error", "step", "ok", "what", "app", "environment", "version"}) {
    if (whole.contains(key)) ordered[key] = whole[key];
  }
  for (const auto& [key, value] : whole.items()) ordered[key] = value;
  const std::string text = ordered.dump();
  return text.size() > kBytesMax ? text.substr(0, kBytesMax - 1) + "…" : text;
}

int list(const ledger::Ledger& ledger, bool json, ledger::Query query) {
  query.newest_first = true;
  std::vector<ledger::Entry> entries = ledger.read(query);
  std::reverse(entries.begin(), entries.end());
  if (json) {
    nlohmann::json lines = nlohmann::json::array();
    for (const ledger::Entry& entry : entries) lines.push_back(nlohmann::json::parse(ledger::to_line(entry)));
    say_json({{"entries", lines}});
    return 0;
  }
  for (const ledger::Entry& entry : entries) {
    say(fmt::format("{:>5}  {}  {:<22} {:<24} {}  {}", entry.sequence, format_iso8601(entry.time), entry.kind,
                    entry.subject, entry.actor, telling(entry.body)));
  }
  return 0;
}

}  // namespace

int run_ledger(Context& context, const std::vector<std::string>& words) {
  Parser parser;
  bool json = false;
  std::string what = "list", head, file, kind, subject;
  std::size_t limit = 50;
  parser.option("what", what).one_of({"list", "verify", "head", "export"});
  parser.flag("--json", json);
  parser.option("--head", head);
  parser.option("--file", file);
  parser.option("--kind", kind);
  parser.option("--subject", subject);
  parser.option("--limit", limit);
  if (!parser.parse("ledger", words)) return 0;
  std::optional<ledger::Head> remembered;
  if (!head.empty()) remembered = parse_head(head);
  // An export is checked by itself, also where there is no ledger.
  if (what == "verify" && !file.empty()) {
    return report(ledger::verify_lines(host::read_file(context.folder / file), remembered), json);
  }
  ledger::Ledger ledger(context.ledger_folder(), context.clock, context.actor());
  if (what == "verify") return report(ledger.verify(remembered), json);
  if (what == "head") {
    ledger::Head newest = ledger.head();
    if (json) {
      say_json({{"sequence", newest.sequence}, {"digest", newest.digest.str()}});
    } else {
      say(fmt::format("{}@{}", newest.sequence, newest.digest.str()));
    }
    return 0;
  }
  if (what == "export") {
    ledger.export_lines([](std::string_view line) { fmt::print("{}", line); });
    return 0;
  }
  ledger::Query query;
  query.kind = kind;
  query.subject = subject;
  query.limit = limit;
  return list(ledger, json, query);
}

}  // namespace kiln::cli
