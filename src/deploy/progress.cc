// Progress: made of the ledger's entries, and of what looks at the fleet show of the new instances.
#include "deploy/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "deploy/history.h"
#include "deploy/internal/checks.h"
#include "ledger/body.h"

namespace kiln::deploy {
namespace {

using fleet::Fleet;
using fleet::Instance;
using nlohmann::json;

// "Health checks failed with these codes: [500]" → "500".
std::string codes_of(const std::string& description) {
  const std::size_t open = description.find('[');
  const std::size_t close = description.find(']', open == std::string::npos ? 0 : open);
  if (open == std::string::npos || close == std::string::npos) return {};
  return description.substr(open + 1, close - open - 1);
}

// Answers by which a service says that it is not ready yet, rather than that it is broken.
bool may_be_starting(const std::string& codes) {
  static constexpr std::string_view kNotReady[] = {"429", "502", "503", "504", ""};
  return std::ranges::all_of(split(codes, ','), [](const std::string& code) {
    return std::ranges::find(kNotReady, trim(code)) != std::end(kNotReady);
  });
}

std::string complaint(const Instance& instance, const std::string& path) {
  const std::string& reason = instance.target.reason;
  if (reason == "Target.ResponseCodeMismatch") {
    const std::string codes = codes_of(instance.target.description);
    return fmt::format("answered {} on {}", codes.empty() ? "with a wrong status" : codes, path);
  }
  if (reason == "Target.Timeout") return fmt::format("did not answer in time on {}", path);
  if (reason == "Target.FailedHealthChecks") return fmt::format("did not pass the health check on {}", path);
  if (instance.target.state == "unhealthy")
    return fmt::format("did not pass the health check on {} ({})", path, reason);
  return "failed the checks of the Auto Scaling group";
}

void watch(Witness& witness, const Instance& instance, const spec::FleetSpec& spec, Time now) {
  if (instance.serves()) {
    if (!witness.healthy_since) witness.healthy_since = now;
    witness.was_healthy = true;
    witness.unhealthy_since.reset();
    return;
  }
  witness.healthy_since.reset();
  const bool bad_target = instance.target.state == "unhealthy" || instance.target.state == "unhealthy.draining";
  const bool bad_instance = instance.health == "Unhealthy";
  if (bad_target || bad_instance) {
    if (!witness.unhealthy_since) witness.unhealthy_since = now;
    witness.why = complaint(instance, spec.health.path);
  } else if (!instance.leaving()) {
    witness.unhealthy_since.reset();
  }
  const Duration age = now - witness.first_seen;
  if (bad_instance) witness.failed = true;
  if (bad_target && now - *witness.unhealthy_since >= spec.health.interval) {
    // A service that answers, and answers wrongly, does not become right by waiting; one that does not answer may still
    // be starting.
    const bool answered = instance.target.reason == "Target.ResponseCodeMismatch" &&
                          !may_be_starting(codes_of(instance.target.description));
    if (answered || witness.was_healthy || age >= spec.grace) witness.failed = true;
  }
  witness.left_well = instance.leaving() && !bad_instance && witness.was_healthy;
  if (instance.leaving() && !witness.was_healthy) {
    witness.failed = true;
    if (witness.why.empty()) witness.why = "ended before being healthy";
  }
  if (!witness.was_healthy && !instance.leaving() && age >= health_budget(spec)) {
    witness.failed = true;
    if (witness.why.empty())
      witness.why = fmt::format("did not become healthy within {} of the start", format_duration(health_budget(spec)));
  }
}

void recall_started(Progress& progress, const ledger::Entry& entry, const json& body) {
  progress.id = entry.subject;
  progress.started = entry.time;
  progress.from_template_version = body.at("from_template_version");
  progress.from_version = body.at("from_version");
  progress.from_proven = body.at("from_proven");
}

void recall_intent(Progress& progress, const ledger::Entry& entry, const json& body) {
  const std::string step = body.at("step");
  progress.tried[step] = entry.time;
  ++progress.tries[step];
  if (body.contains("refresh_before")) progress.refresh_before = body["refresh_before"];
  if (body.contains("return_before")) progress.return_before = body["return_before"];
}

void recall_outcome(Progress& progress, const json& body) {
  if (body.value("ok", false)) progress.done.insert(body.at("step").get<std::string>());
  if (body.contains("rejected")) progress.rejected = body["rejected"];
}

}  // namespace

std::vector<std::string> Progress::failed_instances() const {
  std::vector<std::string> ids;
  for (const auto& [instance, witness] : witnesses) {
    if (witness.failed) ids.push_back(instance);
  }
  return ids;
}

Progress recall(const std::vector<ledger::Entry>& entries) {
  Progress progress;
  for (const ledger::Entry& entry : entries) {
    if (!entry.kind.starts_with("deployment.")) continue;
    ledger::read_body(entry, [&](const json& body) {
      if (entry.kind == kStarted) recall_started(progress, entry, body);
      if (entry.kind == kIntent) recall_intent(progress, entry, body);
      if (entry.kind == kOutcome) recall_outcome(progress, body);
      if (entry.kind == kGoingBack) {
        progress.failing_since = entry.time;
        progress.failing_why = body.at("why");
        progress.asked_to_go_back = body.value("asked", false);
      }
      if (entry.kind == kHolding) progress.held_since = entry.time;
    });
  }
  return progress;
}

void learn(Progress& progress, const Fleet& fleet, const Wanted& wanted, Time now) {
  const std::int64_t version = matching_version(wanted, fleet);
  // Going back ends the new instances on purpose; and a version that was there before is not on trial.
  if (!fleet.group || version == 0 || version == progress.from_template_version || progress.failing_since) return;
  std::set<std::string> present;
  for (const Instance& instance : fleet.group->instances) {
    if (instance.template_version != version) continue;
    present.insert(instance.id);
    auto [found, fresh] = progress.witnesses.try_emplace(instance.id);
    if (fresh) found->second.first_seen = instance.launched == Time{} ? now : std::min(now, instance.launched);
    watch(found->second, instance, wanted.fleet, now);
    progress.any_healthy = progress.any_healthy || found->second.was_healthy;
  }
  const bool scaled_in = progress.desired && fleet.group->desired < *progress.desired;
  progress.desired = fleet.group->desired;
  for (auto& [id, witness] : progress.witnesses) {
    if (present.contains(id) || witness.failed) continue;
    // Who was told to go, or had to make room for a smaller group, has not failed. Who dies is replaced within a
    // second, and may never be seen unhealthy.
    if (witness.was_healthy && (witness.left_well || scaled_in)) {
      witness.left_well = true;
      continue;
    }
    witness.failed = true;
    if (witness.why.empty())
      witness.why = witness.was_healthy ? "died after having been healthy" : "ended before being healthy";
  }
  for (const auto& activity : fleet.activities) {
    if (activity.status == "Failed" && activity.started >= progress.started)
      progress.failed_launches.insert(activity.id);
  }
}

}  // namespace kiln::deploy
