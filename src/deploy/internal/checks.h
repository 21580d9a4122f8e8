// Checks: what differs between a wish and a look, each as a sentence for people. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "deploy/plan.h"

namespace kiln::deploy {

// Elsewhere too: how long a thing that AWS said it has made may stay invisible.
inline constexpr Duration kVisibleBudget = std::chrono::minutes(2);
// Instances of the new version that may fail before the deployment does; fewer in a smaller fleet.
inline constexpr std::size_t kFailuresMax = 3;
// https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_RefreshPreferences.html
inline constexpr Duration kBakeMax = std::chrono::hours(48);

// Why the fleet does not serve that version of the template yet, on all of its desired instances and on no other;
// nullopt when it does.
std::optional<std::string> unsettled(const Wanted& wanted, const fleet::Fleet& fleet, std::int64_t template_version);

// "health path /old → /healthz, drain 30s → 10s"; empty when all is as wanted.
std::string target_group_changes(const Wanted& wanted, const fleet::Fleet& fleet);
// Likewise for the listener; also when there is none on the wanted port.
std::string listener_changes(const Wanted& wanted, const fleet::Fleet& fleet);
// The sizes that the group should have, when they are not so.
std::optional<ResizeGroup> resize(const Wanted& wanted, const fleet::Fleet& fleet);
// Room for at least one more than `desired`, and for no more than the wish's maximum if that gives it.
int max_healthy_percentage(std::int64_t desired, std::int64_t max);

// "i-0a1b2c3.." : enough of an id for people.
std::string short_id(const std::string& id);
// "1 instance", "3 instances".
std::string counted(std::int64_t count, const std::string& noun);

}  // namespace kiln::deploy
