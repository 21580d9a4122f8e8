// SsmWorld: EC2 and Systems Manager behind the front door, on simulated machines, asked as a client asks.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "region/ssm/handlers.h"
#include "region/testing/ec2_world.h"
#include "wire/ssm.h"

namespace kiln::region::ssm::testing {

namespace w = wire::ssm;
namespace api = wire::ec2;

// The same front door for another service: `call` and `refusal` of Ec2World ask it.
class SsmWorld : public kiln::region::testing::Ec2World {
 protected:
  void SetUp() override {
    Ec2World::SetUp();
    serve_ssm();
  }
  void start() {
    Ec2World::start();
    serve_ssm();
  }
  void die() {
    own.reset();
    Ec2World::die();
  }

  struct Own {
    explicit Own(SsmWorld& world)
        : commands(world.Ec2World::life->loop, world.random, world.journal, world.machines, world.Ec2World::life->ec2,
                   {}),
          parameters(world.Ec2World::life->loop, world.random, world.journal,
                     {"us-east-1", "123456789012", std::string(32, 'k')}) {
      ec2::Ec2& ec2 = world.Ec2World::life->ec2;
      serve(world.Ec2World::life->handlers, commands);
      serve(world.Ec2World::life->handlers, parameters);
      parameters.set_image_exists([&ec2](const std::string& id) { return ec2.images().contains(id); });
      parameters.set_public([&world] { return world.public_parameters; });
      ec2.set_image_parameter([this](const std::string& name) { return parameters.get(name, false).version.value; });
      commands.open();
      parameters.open();
    }
    Commands commands;
    Parameters parameters;
  };
  void serve_ssm() { own = std::make_unique<Own>(*this); }

  std::map<std::string, std::string> public_parameters;
  std::unique_ptr<Own> own;
};

class CommandWorld : public SsmWorld {
 protected:
  void SetUp() override {
    policy = [this](const machine::Spec&, host::Random&) {
      machine::Behaviour behaviour;
      behaviour.command = [this](const machine::Command& command) {
        return plan ? plan(command) : machine::CommandRun{};
      };
      return behaviour;
    };
    SsmWorld::SetUp();
    image = register_image();
  }

  static machine::CommandRun slow(int takes_ms) {
    machine::CommandRun run;
    run.takes = Duration(takes_ms);
    return run;
  }
  static machine::CommandRun ends_with(int status) {
    machine::CommandRun run;
    run.status = status;
    return run;
  }
  static w::SendCommandRequest shell(std::vector<std::string> instances, std::string line) {
    w::SendCommandRequest request;
    request.document_name = "AWS-RunShellScript";
    request.instance_ids = std::move(instances);
    request.parameters["commands"] = {std::move(line)};
    return request;
  }
  static void target(w::SendCommandRequest& request, const std::string& key, const std::vector<std::string>& values) {
    auto& one = request.targets.emplace_back();
    one.key = key;
    one.values = values;
  }

  std::vector<w::InstanceInformation> information(
      const std::vector<std::pair<std::string, std::vector<std::string>>>& filters = {}) {
    w::DescribeInstanceInformationRequest request;
    for (const auto& [key, values] : filters) {
      auto& filter = request.filters.emplace_back();
      filter.key = key;
      filter.values = values;
    }
    return call<w::DescribeInstanceInformation>(request).instance_information_list;
  }
  bool online(const std::string& id) {
    return loop.run_while_not(
        [&] {
          const auto& nodes = own->commands.nodes();
          const auto found = nodes.find(id);
          return found != nodes.end() && own->commands.ping_status(found->second) == "Online";
        },
        Duration(30'000));
  }
  // An instance that is a managed node; with the tag "role" when it is given.
  std::string node(const std::string& role = {}) {
    const std::string id = run_one(image);
    if (!role.empty()) life->ec2.create_tags({id}, {{"role", role}});
    EXPECT_TRUE(online(id));
    return id;
  }
  void stop(const std::string& id) {
    api::StopInstancesRequest request;
    request.instance_ids = {id};
    call<api::StopInstances>(request);
    EXPECT_TRUE(wait_for(id, ec2::InstanceState::stopped));
  }
  void terminate(const std::string& id) {
    api::TerminateInstancesRequest request;
    request.instance_ids = {id};
    call<api::TerminateInstances>(request);
    EXPECT_TRUE(wait_for(id, ec2::InstanceState::terminated));
  }

  std::string send(const w::SendCommandRequest& request) {
    return call<w::SendCommand>(request).command->command_id.value();
  }
  bool settles(const std::string& command, const std::string& instance) {
    return loop.run_while_not([&] { return own->commands.settled(command, instance); }, Duration(120'000));
  }
  w::GetCommandInvocationResult invocation(const std::string& command, const std::string& instance) {
    w::GetCommandInvocationRequest request;
    request.command_id = command;
    request.instance_id = instance;
    return call<w::GetCommandInvocation>(request);
  }
  w::Command listed(const std::string& command) {
    w::ListCommandsRequest request;
    request.command_id = command;
    return call<w::ListCommands>(request).commands.at(0);
  }
  std::vector<w::CommandInvocation> invocations(const std::string& command) {
    w::ListCommandInvocationsRequest request;
    request.command_id = command;
    return call<w::ListCommandInvocations>(request).command_invocations;
  }
  std::int64_t count(const std::string& command, const std::string& status) {
    const auto all = invocations(command);
    return std::count_if(all.begin(), all.end(), [&](const auto& one) { return one.status == status; });
  }
  std::int64_t details(const std::string& command, const std::string& wanted) {
    const auto all = invocations(command);
    return std::count_if(all.begin(), all.end(), [&](const auto& one) { return one.status_details == wanted; });
  }

  std::function<machine::CommandRun(const machine::Command&)> plan;  // what commands do, if not nothing
  std::string image;
};

}  // namespace kiln::region::ssm::testing
