// Instances: from pending (launch.cc) to terminated, and the machines behind them.
//
// The wish is in the instance's state (pending, stopping, shutting-down); `advance` gives the machine's host the next
// thing to do for it, one at a time. So a terminate during a launch waits for the launch, and after a restart the same
// states lead on.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "region/api_error.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {
namespace {

// "User initiated (2026-11-24 03:01:56 GMT)"
std::string user_initiated(Time now) {
  std::string text = format_iso8601(now);
  return fmt::format("User initiated ({} {} GMT)", text.substr(0, 10), text.substr(11, 8));
}

}  // namespace

machine::Spec Ec2::State::spec_of(const Instance& instance, bool with_image) const {
  machine::Spec spec;
  spec.id = instance.id;
  spec.hostname = "ip-" + instance.private_address;
  std::replace(spec.hostname.begin(), spec.hostname.end(), '.', '-');
  if (with_image) spec.image = placements.image(instance.image);
  spec.interface.mac = instance.mac;
  spec.interface.address = instance.private_address;
  const Subnet& subnet = vpcs.subnet(instance.subnet_id);
  spec.interface.prefix = subnet.prefix;
  spec.interface.gateway = subnet.gateway;
  spec.interface.vpc = subnet.vpc_id;
  spec.type = instance.type;
  if (const auto volume = volumes.find(instance.volume_id); volume != volumes.end()) {
    spec.disk_gib = static_cast<std::uint64_t>(volume->second.size_gib);
  }
  for (const Volume* volume : data_volumes_of(instance.id)) {
    if (volume->made) spec.volumes.push_back({volume->id, volume->device});
  }
  if (const InstanceType* type = find_instance_type(instance.type)) {
    spec.limits.memory_bytes = static_cast<std::uint64_t>(type->memory_mib) << 20;
    spec.limits.cpus = type->vcpus;
  }
  return spec;
}

void Ec2::State::set_state(Instance& instance, InstanceState state, std::string code, std::string message) {
  InstanceState before = instance.state;
  instance.state = state;
  if (state != InstanceState::running) instance.reboot = instance.powered_down = false;  // it is more than that
  instance.reason_code = std::move(code);
  instance.reason_message = std::move(message);
  if (state == InstanceState::terminated) {
    instance.ended = loop.now();
    used_addresses.erase({instance.vpc_id, instance.private_address});
    if (const Address* address = elastic_of(instance.id)) release(elastic.at(address->id));
    take_public(instance);
    network_changed();
    release_volume(instance);
    forget_later(instance);
  }
  // An address that is not Elastic is given up with the stop, and another one comes with the next start.
  if (state == InstanceState::stopped || (state == InstanceState::pending && instance.has_disk)) {
    const std::string address = instance.public_address;
    if (state == InstanceState::stopped) {
      take_public(instance);
    } else {
      give_public(instance);
    }
    if (instance.public_address != address) network_changed();
  }
  save(instance);
  if (before == state) return;
  for (const auto& listener : listeners) listener(instance, before);
}

void Ec2::State::forget_later(const Instance& instance) {
  Duration left = std::max(Duration(0), *instance.ended + options.keep_terminated - loop.now());
  loop.after(left, [this, id = instance.id] {
    auto it = instances.find(id);
    if (it == instances.end()) return;
    by_token.erase(it->second.client_token);
    journal.erase(kInstanceTable, id);
    instances.erase(it);
  });
}

std::string message_of(std::exception_ptr failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const std::exception& error) {
    return error.what();
  }
}

bool is_absent(std::exception_ptr failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const Error& error) {
    return error.code() == ErrorCode::not_found;
  } catch (const std::exception&) {
    return false;
  }
}

machine::Done Ec2::State::then(const std::string& id, std::function<void(Instance&, std::exception_ptr)> done) {
  return [this, id, done = std::move(done)](std::exception_ptr failure) {
    auto found = instances.find(id);
    if (found == instances.end()) return;
    found->second.busy = false;
    done(found->second, failure);
    advance(id);  // unless `done` has made it busy again
  };
}

void Ec2::State::advance(const std::string& id) {
  auto it = instances.find(id);
  if (it == instances.end() || it->second.busy) return;
  Instance& instance = it->second;
  if (begins_capture(instance) || begins_volume(instance)) return;
  // What the host refuses at once counts as what it says later.
  auto ask = [](auto&& act, auto&& done) {
    try {
      act();
    } catch (const Error&) {
      done(std::current_exception());
    }
  };

  if (instance.state == InstanceState::pending && instance.image.empty()) return await_image(instance);
  if (instance.state == InstanceState::pending && !instance.has_disk && awaits_volumes(instance)) return;
  if (instance.state == InstanceState::pending) {
    instance.busy = true;
    auto started = then(id, [this](Instance& one, std::exception_ptr failure) {
      if (failure && !one.has_disk) {
        set_state(one, InstanceState::terminated, "Server.InternalError",
                  "Server.InternalError: " + message_of(failure));
      } else if (failure && one.state != InstanceState::pending) {
        return;  // asked to end meanwhile, which goes on
      } else if (failure) {
        set_state(one, InstanceState::stopped, "Server.InternalError", "Server.InternalError: " + message_of(failure));
      } else {
        if (!one.has_disk) volumes_launched(one);
        one.has_disk = true;
        save(one);
        if (one.state == InstanceState::pending) set_state(one, InstanceState::running, "", "");
      }
    });
    return ask(
        [&] {
          if (instance.has_disk) {
            machines.resize(id, spec_of(instance, false).limits);  // its type may have been changed
            return machines.start(id, started);
          }
          machines.launch(spec_of(instance), started);
        },
        started);
  }
  if (instance.state == InstanceState::stopping) {
    instance.busy = true;
    auto stopped = then(id, [this](Instance& one, std::exception_ptr failure) {
      if (one.state != InstanceState::stopping) return;
      if (failure && !is_absent(failure)) return end_later(one, message_of(failure));
      one.retry_in = Duration(0);
      set_state(one, InstanceState::stopped, one.reason_code, one.reason_message);
    });
    return ask([&] { machines.stop(id, options.stop_deadline, stopped); }, stopped);
  }
  if (instance.state == InstanceState::shutting_down) {
    auto ended = then(id, [this](Instance& one, std::exception_ptr failure) {
      if (failure && !is_absent(failure)) return end_later(one, message_of(failure));
      set_state(one, InstanceState::terminated, one.reason_code, one.reason_message);
    });
    instance.busy = true;
    if (!instance.has_disk) return ended(nullptr);
    return ask([&] { machines.terminate(id, options.end_deadline, ended); }, ended);
  }
  if (instance.state == InstanceState::running && instance.reboot) {
    instance.busy = true;
    // It stays asked for until it is done: killed meanwhile, we do it again. A machine that did not come back has
    // ended: on_exit.
    auto rebooted = then(id, [this](Instance& one, std::exception_ptr) {
      one.reboot = false;
      save(one);
    });
    return ask([&] { machines.reboot(id, options.stop_deadline, rebooted); }, rebooted);
  }
}

void Ec2::State::end_later(Instance& instance, const std::string& failure) {
  const Duration pause = next_pause(instance.retry_in);
  options.say(fmt::format("{} of {}: {}; trying again in {}", to_string(instance.state), instance.id, failure,
                          format_duration(pause)));
  instance.busy = true;
  loop.after(pause, [this, id = instance.id] {
    const auto it = instances.find(id);
    if (it == instances.end()) return;
    it->second.busy = false;
    advance(id);
  });
}

void Ec2::machine_ended(const machine::Exit& exit) {
  State& s = *state_;
  auto it = s.instances.find(exit.id);
  if (it == s.instances.end() || exit.asked) return;
  Instance& instance = it->second;
  if (instance.state != InstanceState::running && instance.state != InstanceState::pending) return;
  // It had ended before it was asked to start, and will be started.
  if (instance.state == InstanceState::pending && !instance.busy) return;
  // A guest that powers itself off does what InstanceInitiatedShutdownBehavior says; one that was killed is stopped, as
  // an instance is whose host failed.
  bool own_wish = exit.reason == "powered off";
  std::string code = own_wish ? "Client.InstanceInitiatedShutdown" : "Server.InternalError";
  std::string message = code + ": " + (own_wish ? "Instance initiated shutdown" : "the machine ended: " + exit.reason);
  instance.has_disk = true;
  if (own_wish && instance.shutdown_behavior == "terminate") {
    s.set_state(instance, InstanceState::shutting_down, code, message);
    s.advance(instance.id);
  } else {
    s.set_state(instance, InstanceState::stopped, code, message);
  }
}

void Ec2::State::remember_instances() {
  for (const auto& [id, address] : elastic) public_addresses.reserve(address.public_address);
  for (auto& [id, instance] : instances) {
    if (!instance.client_token.empty()) by_token[instance.client_token].push_back(id);
    if (instance.vpc_id.empty()) instance.vpc_id = vpcs.default_vpc().id;  // of before there were others
    if (instance.gone()) {
      forget_later(instance);
      continue;
    }
    used_addresses.emplace(instance.vpc_id, instance.private_address);
    if (!instance.public_address.empty()) public_addresses.reserve(instance.public_address);
  }
}

std::vector<machine::Spec> Ec2::machines() const {
  std::vector<machine::Spec> known;
  for (const auto& [id, instance] : state_->instances) {
    if (instance.gone()) continue;
    try {
      known.push_back(state_->spec_of(instance, !instance.image.empty()));
    } catch (const Error&) {
      // What runs goes on without its image; what must be started fails then, and says why.
      known.push_back(state_->spec_of(instance, false));
    }
  }
  return known;
}

void Ec2::resume(const std::vector<std::string>& alive) {
  State& s = *state_;
  for (const std::string& id : alive) {
    const auto it = s.instances.find(id);
    if (it == s.instances.end()) continue;
    it->second.powered_down = false;  // it was not yet, or is up again
    if (it->second.state != InstanceState::pending) continue;
    // Its launch or start ended well, unseen by the process before. One that was half launched is removed, and launched
    // anew.
    if (!it->second.has_disk) s.volumes_launched(it->second);
    it->second.has_disk = true;
    s.set_state(it->second, InstanceState::running, "", "");
  }
  s.resume_captures();
  s.resume_volumes();
  for (const auto& [id, instance] : s.instances) s.loop.post([&s, name = id] { s.advance(name); });
}

const std::map<std::string, Instance>& Ec2::instances() const { return state_->instances; }

const Instance* Ec2::find_instance(const std::string& id) const {
  auto it = state_->instances.find(id);
  return it == state_->instances.end() ? nullptr : &it->second;
}

const Instance& Ec2::instance(const std::string& id) const {
  if (const Instance* found = find_instance(id)) return *found;
  if (!well_formed(id, "i-")) throw ApiError("InvalidInstanceID.Malformed", fmt::format("Invalid id: \"{}\"", id));
  throw ApiError("InvalidInstanceID.NotFound", fmt::format("The instance ID '{}' does not exist", id));
}

bool Ec2::settled(const std::vector<std::string>& instance_ids) const {
  return std::none_of(instance_ids.begin(), instance_ids.end(), [this](const std::string& id) {
    const Instance* found = find_instance(id);
    return found != nullptr && (found->state == InstanceState::pending || found->state == InstanceState::stopping ||
                                found->state == InstanceState::shutting_down);
  });
}

namespace {

[[noreturn]] void refuse_state(const Instance& instance, const char* wish) {
  throw ApiError("IncorrectInstanceState",
                 fmt::format("The instance '{}' is not in a state from which it can be {}.", instance.id, wish));
}

}  // namespace

std::vector<Ec2::Transition> Ec2::terminate_instances(const std::vector<std::string>& ids) {
  State& s = *state_;
  for (const std::string& id : ids) {
    if (!instance(id).termination_protected || instance(id).gone()) continue;
    throw ApiError("OperationNotPermitted",
                   fmt::format("The instance '{}' may not be terminated. Modify its 'disableApiTermination' instance "
                               "attribute and try again.",
                               id));
  }
  std::vector<Transition> out;
  for (const std::string& id : ids) {
    Instance& one = s.instances.at(id);
    InstanceState before = one.state;
    if (before != InstanceState::terminated && before != InstanceState::shutting_down) {
      one.transition_reason = user_initiated(s.loop.now());
      s.set_state(one, InstanceState::shutting_down, "Client.UserInitiatedShutdown",
                  "Client.UserInitiatedShutdown: User initiated shutdown");
      s.loop.post([&s, id] { s.advance(id); });
    }
    out.push_back({&one, before});
  }
  return out;
}

std::vector<Ec2::Transition> Ec2::stop_instances(const std::vector<std::string>& ids) {
  State& s = *state_;
  for (const std::string& id : ids) {
    InstanceState now = instance(id).state;
    if (now != InstanceState::running && now != InstanceState::stopping && now != InstanceState::stopped) {
      refuse_state(instance(id), "stopped");
    }
    if (instance(id).stop_protected && now == InstanceState::running) {
      throw ApiError("OperationNotPermitted",
                     fmt::format("The instance '{}' may not be stopped. Modify its 'disableApiStop' instance attribute "
                                 "and try again.",
                                 id));
    }
  }
  std::vector<Transition> out;
  for (const std::string& id : ids) {
    Instance& one = s.instances.at(id);
    InstanceState before = one.state;
    if (before == InstanceState::running) {
      one.transition_reason = user_initiated(s.loop.now());
      s.set_state(one, InstanceState::stopping, "Client.UserInitiatedShutdown",
                  "Client.UserInitiatedShutdown: User initiated shutdown");
      s.loop.post([&s, id] { s.advance(id); });
    }
    out.push_back({&one, before});
  }
  return out;
}

std::vector<Ec2::Transition> Ec2::start_instances(const std::vector<std::string>& ids) {
  State& s = *state_;
  for (const std::string& id : ids) {
    InstanceState now = instance(id).state;
    if (now != InstanceState::running && now != InstanceState::pending && now != InstanceState::stopped) {
      refuse_state(instance(id), "started");
    }
  }
  std::vector<Transition> out;
  for (const std::string& id : ids) {
    Instance& one = s.instances.at(id);
    InstanceState before = one.state;
    if (before == InstanceState::stopped) {
      one.transition_reason.clear();
      one.launched = s.loop.now();
      s.set_state(one, InstanceState::pending, "", "");
      s.loop.post([&s, id] { s.advance(id); });
    }
    out.push_back({&one, before});
  }
  return out;
}

void Ec2::reboot_instances(const std::vector<std::string>& ids) {
  State& s = *state_;
  for (const std::string& id : ids) {
    if (instance(id).state != InstanceState::running) refuse_state(instance(id), "rebooted");
  }
  for (const std::string& id : ids) {
    s.instances.at(id).reboot = true;
    s.save(s.instances.at(id));
    s.loop.post([&s, id] { s.advance(id); });
  }
}

std::string Ec2::console_output(const std::string& id) const {
  const Instance& one = instance(id);
  if (!one.has_disk || one.gone()) return {};
  try {
    return state_->machines.console(id);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::not_found) throw;
    return {};  // its machine was removed behind our back
  }
}

void Ec2::on_instance_change(std::function<void(const Instance&, InstanceState)> listener) {
  state_->listeners.push_back(std::move(listener));
}

}  // namespace kiln::region::ec2
