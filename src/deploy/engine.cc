// Engine: observe → plan → act → record.
#include "deploy/engine.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "aws/client.h"
#include "base/error.h"
#include "base/text.h"
#include "deploy/internal/act.h"
#include "deploy/internal/checks.h"
#include "fleet/observe.h"

namespace kiln::deploy {
namespace {

using fleet::Fleet;
using nlohmann::json;

// How long AWS may be away in the middle of a deployment: a region's restart, a network that flaps.
constexpr Duration kPatience = std::chrono::minutes(5);
// What seldom changes is looked at again after so many looks at what moves.
constexpr int kWholeEvery = 30;

// 40 bits: two deployments of one ledger will not meet.
constexpr std::size_t kIdDigits = 10;

bool is_away(const Error& error) {
  return error.code() == ErrorCode::unavailable || error.code() == ErrorCode::timeout;
}

// What stopped us, and that the deployment waits in the ledger.
Error unfinished(const Error& error) {
  const std::string next = "AWS goes on with what it was told, and the same command goes on with the deployment.";
  Error out(error.code(), error.message(), error.next().empty() ? next : error.next() + "; " + next);
  for (const std::string& attempted : error.context()) out.add_context(attempted);
  return out;
}

std::string newest_refresh(const Fleet& fleet) { return fleet.refreshes.empty() ? "" : fleet.refreshes.front().id; }

[[noreturn]] void refuse(const Wanted& wanted, const std::vector<std::string>& reasons) {
  std::string why =
      fmt::format("deploying {} {} cannot work: {}", wanted.names.title(), wanted.version, join(reasons, "; "));
  throw Error(ErrorCode::conflict, std::move(why), "Nothing was changed. `kiln plan` shows what it would do.");
}

}  // namespace

Engine::Engine(aws::Client& client, ledger::Ledger& ledger, host::Clock& clock, host::Random& random, host::Path locks,
               EngineOptions options)
    : client_(client),
      ledger_(ledger),
      clock_(clock),
      random_(random),
      locks_(std::move(locks)),
      options_(std::move(options)) {}

Result Engine::run(const Wanted& wanted, const std::string& verb) {
  const auto held = lease(wanted, verb);
  Fleet fleet = fleet::look(client_, wanted.names, {wanted.ami});
  Progress progress = begin(wanted, verb, fleet);
  return loop(wanted, std::move(progress), std::move(fleet));
}

Result Engine::go_back(Wanted wanted, const std::string& why) {
  const auto held = lease(wanted, "rollback");
  const History history(ledger_);
  const auto unfinished = history.unfinished(wanted.names.app, wanted.names.environment);
  if (!unfinished) {
    throw Error(ErrorCode::not_found, fmt::format("no deployment of {} is unfinished", wanted.names.title()),
                "To go back from one that is finished: kiln rollback");
  }
  wanted.version = unfinished->version;
  wanted.digest = unfinished->digest;
  wanted.ami = unfinished->ami;
  wanted.template_version = unfinished->pinned_version;
  wanted.fleet.instance_type = unfinished->instance_type;
  Progress progress = recall(history.entries(unfinished->id));
  Fleet fleet = fleet::look(client_, wanted.names, {wanted.ami});
  if (!progress.asked_to_go_back) {
    note(progress, kGoingBack, {{"why", progress.failing_since ? progress.failing_why : why}, {"asked", true}});
    if (!progress.failing_since) progress.failing_since = clock_.now();
    progress.failing_why = why;
    progress.asked_to_go_back = true;
  }
  Result result = loop(wanted, std::move(progress), std::move(fleet));
  const bool asked_for = result.outcome == Outcome::rolled_back || result.outcome == Outcome::failed;
  if (asked_for && result.back) result.outcome = Outcome::done;
  return result;
}

Result Engine::loop(const Wanted& wanted, Progress progress, Fleet fleet) {
  for (int looks = 1;; ++looks) {
    const Time now = clock_.now();
    learn(progress, fleet, wanted, now);
    const Plan next = plan(wanted, fleet, progress, now);
    if (options_.on_look) options_.on_look({wanted, fleet, progress, next, now});
    if (next.finish) return finish(wanted, fleet, progress, *next.finish);
    if (cancelled()) return leave(wanted, progress, next);
    try {
      for (const Action& action : next.actions) take(action, wanted, fleet, progress);
      if (next.wait) clock_.sleep(options_.poll);
      if (cancelled()) return leave(wanted, progress, next);
      fleet = observe(wanted, fleet, !next.actions.empty() || looks % kWholeEvery == 0 || !fleet.group);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::cancelled) throw;
      return leave(wanted, progress, next);
    }
  }
}

// Intent first, then the act, then what came of it.
void Engine::take(const Action& action, const Wanted& wanted, const Fleet& fleet, Progress& progress) {
  if (const auto* decide = std::get_if<DecideToGoBack>(&action)) {
    note(progress, kGoingBack, {{"why", decide->why}, {"asked", false}});
    progress.failing_since = clock_.now();
    progress.failing_why = decide->why;
    return;
  }
  if (std::holds_alternative<BeginHold>(action)) {
    note(progress, kHolding, {{"ms", wanted.deploy.bake.count()}});
    progress.held_since = clock_.now();
    return;
  }
  const std::string step = step_name(action);
  json intent = {{"step", step}, {"what", sentence(action, wanted)}};
  if (const auto* start = std::get_if<StartRefresh>(&action)) {
    (start->going_back ? progress.return_before : progress.refresh_before) = newest_refresh(fleet);
    intent[start->going_back ? "return_before" : "refresh_before"] = newest_refresh(fleet);
  }
  note(progress, kIntent, intent);
  progress.tried[step] = clock_.now();
  const int tries = ++progress.tries[step];

  Acted acted;
  try {
    acted = act(client_, action, wanted, fleet, fmt::format("kiln-{}-{}", progress.id, step));
  } catch (const Error& error) {
    if (!is_away(error)) throw unfinished(error);
    // Whether it was done is seen at the next look.
    acted.error = error.message();
  }
  json outcome = {{"step", step}, {"ok", acted.there}};
  if (!acted.id.empty()) outcome["id"] = acted.id;
  if (!acted.there) outcome["error"] = acted.error;
  constexpr int kRefusalsMax = 5;
  if (!acted.there && (acted.final || tries >= kRefusalsMax)) outcome["rejected"] = acted.error;
  note(progress, kOutcome, outcome);
  if (acted.there) progress.done.insert(step);
  if (outcome.contains("rejected")) progress.rejected = acted.error;
  if (!acted.there) clock_.sleep(options_.poll);
}

Progress Engine::begin(const Wanted& wanted, const std::string& verb, const Fleet& fleet) {
  const History history(ledger_);
  if (auto unfinished = history.unfinished(wanted.names.app, wanted.names.environment)) {
    const bool same = unfinished->fingerprint == wanted.fingerprint();
    if (same) return recall(history.entries(unfinished->id));
    // A region that was reset has taken it along: there is nothing that it could hold.
    if (!fleet.empty()) throw Error(ErrorCode::held, unfinished_words(*unfinished), unfinished_next(*unfinished));
    ledger_.append(kFinished, unfinished->id,
                   {{"app", unfinished->app},
                    {"environment", unfinished->environment},
                    {"version", unfinished->version},
                    {"outcome", to_string(Outcome::failed)},
                    {"why", "nothing of it is left in AWS"},
                    {"template_version", 0},
                    {"took_ms", (clock_.now() - unfinished->started).count()}});
  }
  if (auto reasons = refusals(wanted, fleet); !reasons.empty()) refuse(wanted, reasons);
  Progress progress;
  progress.id = "d-" + random_.hex(kIdDigits);
  progress.started = clock_.now();
  if (fleet.group) {
    progress.from_template_version = fleet.group->template_version;
    progress.from_version = fleet.image_version(progress.from_template_version);
    // It may just be down, and that is no reason to stay with something worse.
    progress.from_proven =
        fleet.serving(progress.from_template_version) > 0 ||
        history.has_served(wanted.names.app, wanted.names.environment, progress.from_template_version);
  }
  json body = {{"app", wanted.names.app},
               {"environment", wanted.names.environment},
               {"verb", verb},
               {"strategy", spec::to_string(wanted.deploy.strategy)},
               {"size", wanted.fleet.size},
               {"version", wanted.version},
               {"digest", wanted.digest.str()},
               {"ami", wanted.ami},
               {"instance_type", wanted.fleet.instance_type},
               {"pinned_version", nullptr},
               {"fingerprint", wanted.fingerprint().str()},
               {"from_version", progress.from_version},
               {"from_template_version", progress.from_template_version},
               {"from_proven", progress.from_proven}};
  if (wanted.template_version) body["pinned_version"] = *wanted.template_version;
  note(progress, kStarted, body);
  return progress;
}

Fleet Engine::observe(const Wanted& wanted, const Fleet& before, bool whole) {
  const Duration begun = clock_.uptime();
  for (;;) {
    try {
      return whole ? fleet::look(client_, wanted.names, {wanted.ami})
                   : fleet::look_again(client_, wanted.names, before);
    } catch (const Error& error) {
      if (!is_away(error) || clock_.uptime() - begun >= kPatience) throw unfinished(error);
    }
    if (cancelled()) throw Error(ErrorCode::cancelled, "nobody answered");
    clock_.sleep(options_.poll);
  }
}

void Engine::note(Progress& progress, std::string_view kind, const json& body) {
  ledger_.append(kind, progress.id, body);
}

Result Engine::finish(const Wanted& wanted, const Fleet& fleet, const Progress& progress, const Finish& end) {
  const Duration took = clock_.now() - progress.started;
  ledger_.append(kFinished, progress.id,
                 {{"app", wanted.names.app},
                  {"environment", wanted.names.environment},
                  {"version", wanted.version},
                  {"outcome", to_string(end.outcome)},
                  {"why", end.why},
                  {"template_version", matching_version(wanted, fleet)},
                  {"took_ms", took.count()}});
  const bool back = progress.from_template_version != 0 && fleet.group &&
                    fleet.group->template_version == progress.from_template_version &&
                    !unsettled(wanted, fleet, progress.from_template_version);
  return {progress.id, end.outcome, end.why, end.next, took, back};
}

Result Engine::leave(const Wanted& wanted, const Progress& progress, const Plan& plan) {
  const std::string doing = plan.wait ? plan.wait->reason : std::string("between two steps");
  ledger_.append(kLeft, progress.id, {{"why", "somebody stopped waiting"}, {"at", doing}});
  return {progress.id,
          Outcome::left,
          fmt::format("left {} of {} as it is: {}; AWS goes on with what it was told", progress.id,
                      wanted.names.title(), doing),
          fmt::format("The same command goes on with it; `kiln rollback` takes it back; `kiln status` shows it."),
          clock_.now() - progress.started,
          false};
}

host::FileLock Engine::lease(const Wanted& wanted, const std::string& verb) {
  host::make_folders(locks_);
  return with_context("deploying " + wanted.names.title(), [&] {
    try {
      return host::FileLock::take(locks_ / (wanted.names.group + ".lock"),
                                  fmt::format("kiln {} {} {}", verb, wanted.names.app, wanted.version), clock_.now());
    } catch (Error& error) {
      if (error.code() == ErrorCode::held) error.suggest("Wait for it, or watch it with `kiln status --watch`.");
      throw;
    }
  });
}

}  // namespace kiln::deploy
