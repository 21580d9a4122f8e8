// kiln ledger: what was done, by whom and when; and whether anybody changed it since.
#include "ledger/ledger.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/command.h"

namespace kiln::cli {
namespace {

int verify(const ledger::Ledger& ledger, bool json, const std::string& head_text) {
  std::optional<ledger::Head> remembered;
  if (!head_text.empty()) {
    std::size_t at = head_text.find('@');
    if (at == std::string::npos)
      throw Error(ErrorCode::usage, "--head takes NUMBER@DIGEST, as 'kiln ledger head' prints");
    remembered = ledger::Head{std::stoll(head_text.substr(0, at)), Digest::parse(head_text.substr(at + 1))};
  }
  ledger::Verification result = ledger.verify(remembered);
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
    std::string body = entry.body.size() > 100 ? entry.body.substr(0, 99) + "…" : entry.body;
    say(fmt::format("{:>5}  {}  {:<22} {:<24} {}  {}", entry.sequence, format_iso8601(entry.time), entry.kind,
                    entry.subject, entry.actor, body));
  }
  return 0;
}

}  // namespace

int run_ledger(Context& context, const std::vector<std::string>& words) {
  CLI::App parser;
  bool json = false;
  std::string what = "list", head, kind, subject;
  std::size_t limit = 50;
  parser.add_option("what", what)->check(CLI::IsMember({"list", "verify", "head", "export"}));
  parser.add_flag("--json", json);
  parser.add_option("--head", head);
  parser.add_option("--kind", kind);
  parser.add_option("--subject", subject);
  parser.add_option("--limit", limit);
  if (!parse(parser, "ledger", words)) return 0;
  ledger::Ledger ledger(context.ledger_folder(), context.clock, context.actor());
  if (what == "verify") return verify(ledger, json, head);
  if (what == "head") {
    ledger::Head newest = ledger.head();
    say(fmt::format("{}@{}", newest.sequence, newest.digest.str()));
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
