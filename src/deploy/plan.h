// Plan: what a deployment does next. Pure: the same wish, look, past and time give the same plan, and nothing is
// touched.
//
// It is asked again after every change. Rules that it keeps, whatever it is shown:
// - the group's launch template is never written by an update; only a refresh moves the group to a version, and only
// when it
//   has succeeded does AWS write that version down, so that AWS's own rollback knows the way;
// - every version is a number; healthy instances are ended only by a refresh that keeps 100 % healthy;
// - it ends: each wait has a reason and a budget, and what runs out becomes a way back or a finish.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/time.h"
#include "deploy/progress.h"
#include "deploy/wanted.h"
#include "fleet/fleet.h"

namespace kiln::deploy {

enum class SecurityGroupOf { instances, balancer };

// Steps. Each has a name (`step_name`), which is its place in the ledger and the seed of its client token.
struct CreateSecurityGroup {
  SecurityGroupOf of;
};
struct OpenPort {  // the balancer's port to everybody; the instances' port to the balancer
  SecurityGroupOf of;
};
struct CreateTargetGroup {};
struct ChangeTargetGroup {  // health checks and drain as in kiln.yaml
  std::string what;         // "health path /old → /healthz"
};
struct CreateLoadBalancer {};
struct CreateListener {};
struct ChangeListener {  // forwards all to the target group, on the right port
  std::string what;
};
struct CreateLaunchTemplate {};
struct CreateTemplateVersion {};
struct CreateGroup {
  std::int64_t template_version = 0;
};
struct ResizeGroup {  // never touches the launch template
  std::int64_t min = 0, max = 0, desired = 0;
};
struct StartRefresh {
  std::int64_t template_version = 0;
  int max_healthy = 200;  // percent; the minimum is always 100
  bool auto_rollback = false;
  Duration bake{};
  bool going_back = false;
};
struct DecideToGoBack {  // recorded, so that it holds after a crash
  std::string why;
};
struct RollBackRefresh {};
struct CancelRefresh {};
struct BeginHold {};  // recorded: the bake counts from here

using Action = std::variant<CreateSecurityGroup, OpenPort, CreateTargetGroup, ChangeTargetGroup, CreateLoadBalancer,
                            CreateListener, ChangeListener, CreateLaunchTemplate, CreateTemplateVersion, CreateGroup,
                            ResizeGroup, StartRefresh, DecideToGoBack, RollBackRefresh, CancelRefresh, BeginHold>;

std::string step_name(const Action& action);                       // "create-target-group", "start-refresh-7"
std::string sentence(const Action& action, const Wanted& wanted);  // "creating target group kiln-web"

struct Wait {
  std::string reason;  // "2 of 4 instances of 1.1.0 are healthy"
  Time since{};
  Time until{};  // the budget's end
};

struct Finish {
  Outcome outcome;
  std::string why;   // one sentence for people
  std::string next;  // what to do, or empty
};

// Either actions to take now, in order, or a wait, or the end.
struct Plan {
  std::vector<Action> actions;
  std::optional<Wait> wait;
  std::optional<Finish> finish;
};

Plan plan(const Wanted& wanted, const fleet::Fleet& fleet, const Progress& progress, Time now);

// The template's version that is what is wanted, or 0: of several the newest.
std::int64_t matching_version(const Wanted& wanted, const fleet::Fleet& fleet);
// What makes a deployment of this impossible, before anything is changed: each a sentence; empty when it can begin.
std::vector<std::string> refusals(const Wanted& wanted, const fleet::Fleet& fleet);
// How long after its start a new instance may take to be healthy.
Duration health_budget(const spec::FleetSpec& fleet);

}  // namespace kiln::deploy
