// Wanted: the fingerprint of a wish, and outcomes as words.
#include "deploy/wanted.h"

#include <fmt/format.h>

#include "base/error.h"

namespace kiln::deploy {

Digest Wanted::fingerprint() const {
  const auto& health = fleet.health;
  std::string text = fmt::format("1\n{}\n{}\n{}\n{}\n{}\n{}\n", names.app, names.environment, version, digest.str(),
                                 ami, template_version.value_or(0));
  text += fmt::format("{} {} {} {} {} {}\n", fleet.size, fleet.min, fleet.max, fleet.instance_type, fleet.listen.port,
                      fleet.listen.target_port);
  text += fmt::format("{} {} {} {} {} {}\n", health.path, health.interval.count(), health.timeout.count(),
                      health.healthy, health.unhealthy, health.status);
  text += fmt::format("{} {} {}\n", fleet.drain.count(), fleet.warmup.count(), fleet.grace.count());
  text += fmt::format("{} {} {} {}\n", to_string(deploy.strategy), deploy.bake.count(), to_string(deploy.rollback),
                      deploy.timeout.count());
  return sha256(text);
}

std::string_view to_string(Outcome outcome) {
  switch (outcome) {
    case Outcome::done:
      return "done";
    case Outcome::rolled_back:
      return "rolled_back";
    case Outcome::failed:
      return "failed";
    case Outcome::stuck:
      return "stuck";
    case Outcome::left:
      return "left";
  }
  return "unknown";
}

Outcome parse_outcome(std::string_view text) {
  for (Outcome outcome : {Outcome::done, Outcome::rolled_back, Outcome::failed, Outcome::stuck, Outcome::left}) {
    if (to_string(outcome) == text) return outcome;
  }
  throw Error(ErrorCode::invalid, fmt::format("'{}' is no outcome of a deployment", text), "A newer Kiln may know it.");
}

int exit_code(Outcome outcome) {
  switch (outcome) {
    case Outcome::done:
      return 0;
    case Outcome::left:
      return 130;
    case Outcome::rolled_back:
      return 3;
    case Outcome::failed:
      return 1;
    case Outcome::stuck:
      return 4;
  }
  return 4;
}

}  // namespace kiln::deploy
