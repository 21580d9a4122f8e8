// Steps: the name of each action in the ledger, and the sentence for people.
#include <fmt/format.h>

#include "deploy/plan.h"

namespace kiln::deploy {
namespace {

template <typename... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};
template <typename... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

std::string_view of_name(SecurityGroupOf of) { return of == SecurityGroupOf::balancer ? "balancer" : "instances"; }

const std::string& group_name(SecurityGroupOf of, const Wanted& wanted) {
  return of == SecurityGroupOf::balancer ? wanted.names.balancer_security_group : wanted.names.instance_security_group;
}

}  // namespace

std::string step_name(const Action& action) {
  return std::visit(
      Overloaded{
          [](const CreateSecurityGroup& a) { return fmt::format("create-security-group-{}", of_name(a.of)); },
          [](const OpenPort& a) { return fmt::format("open-port-{}", of_name(a.of)); },
          [](const CreateTargetGroup&) { return std::string("create-target-group"); },
          [](const ChangeTargetGroup&) { return std::string("change-target-group"); },
          [](const CreateLoadBalancer&) { return std::string("create-load-balancer"); },
          [](const CreateListener&) { return std::string("create-listener"); },
          [](const ChangeListener&) { return std::string("change-listener"); },
          [](const CreateLaunchTemplate&) { return std::string("create-launch-template"); },
          [](const CreateTemplateVersion&) { return std::string("create-template-version"); },
          [](const CreateGroup&) { return std::string("create-group"); },
          [](const ResizeGroup&) { return std::string("resize-group"); },
          [](const StartRefresh& a) {
            return fmt::format("{}-{}", a.going_back ? "return-refresh" : "start-refresh", a.template_version);
          },
          [](const DecideToGoBack&) { return std::string("decide-to-go-back"); },
          [](const RollBackRefresh&) { return std::string("roll-back-refresh"); },
          [](const CancelRefresh&) { return std::string("cancel-refresh"); },
          [](const BeginHold&) { return std::string("begin-hold"); },
      },
      action);
}

std::string sentence(const Action& action, const Wanted& wanted) {
  const auto& names = wanted.names;
  return std::visit(
      Overloaded{
          [&](const CreateSecurityGroup& a) {
            return fmt::format("creating security group {}", group_name(a.of, wanted));
          },
          [&](const OpenPort& a) {
            return a.of == SecurityGroupOf::balancer
                       ? fmt::format("opening port {} of the load balancer", wanted.fleet.listen.port)
                       : fmt::format("opening port {} of the instances to the load balancer",
                                     wanted.fleet.listen.target_port);
          },
          [&](const CreateTargetGroup&) { return fmt::format("creating target group {}", names.target_group); },
          [&](const ChangeTargetGroup& a) {
            return fmt::format("changing target group {}: {}", names.target_group, a.what);
          },
          [&](const CreateLoadBalancer&) { return fmt::format("creating load balancer {}", names.load_balancer); },
          [&](const CreateListener&) {
            return fmt::format("creating the listener on port {}", wanted.fleet.listen.port);
          },
          [&](const ChangeListener& a) { return fmt::format("changing the listener: {}", a.what); },
          [&](const CreateLaunchTemplate&) {
            return fmt::format("creating launch template {} for {}", names.launch_template, wanted.version);
          },
          [&](const CreateTemplateVersion&) {
            return fmt::format("adding a version of launch template {} for {}", names.launch_template, wanted.version);
          },
          [&](const CreateGroup& a) {
            return fmt::format("creating Auto Scaling group {} with {} of template version {}", names.group,
                               wanted.fleet.size, a.template_version);
          },
          [&](const ResizeGroup& a) {
            return fmt::format("resizing {} to {} (min {}, max {})", names.group, a.desired, a.min, a.max);
          },
          [&](const StartRefresh& a) {
            return fmt::format("starting a refresh of {} {} template version {}", names.group,
                               a.going_back ? "back to" : "to", a.template_version);
          },
          [&](const DecideToGoBack& a) { return fmt::format("giving {} up: {}", wanted.version, a.why); },
          [&](const RollBackRefresh&) { return fmt::format("rolling the refresh of {} back", names.group); },
          [&](const CancelRefresh&) { return fmt::format("stopping the refresh of {}", names.group); },
          [&](const BeginHold&) {
            return fmt::format("holding {} for {}", wanted.version, format_duration(wanted.deploy.bake));
          },
      },
      action);
}

}  // namespace kiln::deploy
