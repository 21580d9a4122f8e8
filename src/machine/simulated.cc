// Simulated machines: see simulated.h.
#include "machine/simulated.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "base/text.h"

namespace kiln::machine {
Behaviour ordinary(const Spec&, host::Random& random) {
  Behaviour behaviour;
  behaviour.start = Duration(300 + static_cast<int>(random.below(200)));
  behaviour.serves = Duration(200 + static_cast<int>(random.below(400)));
  behaviour.stop = Duration(100 + static_cast<int>(random.below(800)));
  return behaviour;
}

struct SimulatedMachines::Box {
  struct Machine {
    Spec spec;
    Behaviour behaviour;
    State state = State::starting;
    Time running_since{};
    int boots = 0;
    std::string console;
    host::TimerId timer = 0;  // the end of what is under way, or the death that is to come
    bool busy = false;        // a call is under way
    bool rebooting = false;   // it is a reboot
    bool capturing = false;
    bool terminating = false;
    struct Running {
      Command command;
      CommandDone done;  // null: nobody of this life has asked
      CommandEnd end;
      bool ended = false;
      host::TimerId timer = 0;
    };
    std::map<std::string, Running> running;  // commands, by id; also ended ones of which nobody was told
    std::vector<Command> begun;
    Done under_way;  // of the call that is under way; given an Error(cancelled) when `terminate` overtakes it
    std::vector<Done> terminated;  // who waits for the end of `terminate`
  };

  Box(host::Loop& l, host::Random& r, Policy p) : loop(l), random(r), policy(std::move(p)) {}

  static std::pair<std::string, std::string> place_of(const Interface& interface) {
    return {interface.vpc, interface.address};
  }

  Machine& known(const std::string& id) {
    const auto found = machines.find(id);
    if (found == machines.end()) throw Error(ErrorCode::not_found, fmt::format("machine {} does not exist", id));
    return found->second;
  }

  void say(Machine& machine, const std::string& line) {
    machine.console += fmt::format("[{}] {}\n", format_iso8601(loop.now()), line);
    if (machine.console.size() > 64 * 1024) machine.console.erase(0, machine.console.size() - 64 * 1024);
  }

  // What the control plane gave us, and what is not called any more when it has died since.
  Done of_this_life(Done done) {
    return [this, done = std::move(done), caller = life](std::exception_ptr failure) {
      if (done && caller == life) done(failure);
    };
  }

  void set_timer(Machine& machine, Duration delay, std::function<void()> task) {
    loop.cancel(machine.timer);
    machine.timer = loop.after(delay, std::move(task));
  }

  void end_command(Machine& machine, const std::string& id, CommandEnd end) {
    const auto found = machine.running.find(id);
    if (found == machine.running.end() || found->second.ended) return;
    Machine::Running& running = found->second;
    loop.cancel(running.timer);
    running.ended = true;
    running.end = std::move(end);
    running.end.ended = loop.now();
    running.end.out_cut = running.end.out.size() > kCommandOutMax;
    running.end.err_cut = running.end.err.size() > kCommandErrMax;
    running.end.out.resize(std::min(running.end.out.size(), kCommandOutMax));
    running.end.err.resize(std::min(running.end.err.size(), kCommandErrMax));
    tell(machine.spec.id, id);
  }
  // Later, as everything that a call brings about; what nobody hears of is kept.
  void tell(const std::string& id, const std::string& command) {
    loop.post([this, id, command, caller = life] {
      const auto machine = machines.find(id);
      if (caller != life || machine == machines.end()) return;
      const auto found = machine->second.running.find(command);
      if (found == machine->second.running.end() || !found->second.done) return;
      const CommandDone done = std::exchange(found->second.done, nullptr);
      done(CommandEnd(found->second.end));
      // What `done` has done about it is kept when this turn is over.
      loop.post([this, id, command, caller] {
        const auto its = machines.find(id);
        if (caller == life && its != machines.end()) its->second.running.erase(command);
      });
    });
  }
  // Its machine ends under them.
  void lose_commands(Machine& machine) {
    std::vector<std::string> ids;
    for (const auto& [id, running] : machine.running) ids.push_back(id);
    for (const std::string& id : ids) end_command(machine, id, {});
  }
  // At once when its init can be asked, or when it can be.
  void deliver(const std::string& id, const std::string& command, Duration left) {
    Machine& machine = known(id);
    Machine::Running& running = machine.running.at(command);
    const Duration up = loop.now() - machine.running_since;
    const Duration missing = std::max(Duration(0), machine.behaviour.reachable - up);
    if (!machine.behaviour.agent || missing > left) {
      running.timer = loop.after(left, [this, id, command] {
        CommandEnd end;
        end.how = CommandEnd::How::undelivered;
        end_command(known(id), command, end);
      });
      return;
    }
    running.timer = loop.after(missing, [this, id, command] { begin_command(known(id), command); });
  }
  void begin_command(Machine& machine, const std::string& id) {
    Machine::Running& running = machine.running.at(id);
    machine.begun.push_back(running.command);
    CommandRun will = machine.behaviour.command ? machine.behaviour.command(running.command) : CommandRun{};
    const bool in_time = will.takes < running.command.timeout;
    CommandEnd end;
    end.how = in_time ? CommandEnd::How::exited : CommandEnd::How::timed_out;
    end.status = in_time ? will.status : 137;
    end.out = std::move(will.out);
    end.err = std::move(will.err);
    end.started = loop.now();
    running.end = end;
    running.timer = loop.after(std::min(will.takes, running.command.timeout),
                               [this, name = machine.spec.id, id, end] { end_command(known(name), id, end); });
  }

  void run(const std::string& id) {
    Machine& machine = known(id);
    machine.state = State::running;
    machine.running_since = loop.now();
    ++machine.boots;
    machine.timer = 0;
    say(machine, "init is running");
    if (!machine.behaviour.dies) return;
    set_timer(machine, *machine.behaviour.dies, [this, id] { die(id, "powered off"); });
  }

  void die(const std::string& id, const std::string& reason) {
    Machine& machine = known(id);
    loop.cancel(machine.timer);
    machine.timer = 0;
    machine.state = State::stopped;
    volumes.unmount(id);
    lose_commands(machine);
    say(machine, "ended: " + reason);
    if (attached && listener) {
      listener(Exit{id, false, reason});
    } else {
      unseen.push_back({id, false, reason});
    }
  }

  // Starts a call that takes `delay` and then does `end`.
  void begin(const std::string& id, Duration delay, std::function<void(Machine&)> end, Done done) {
    Machine& machine = known(id);
    KILN_ASSERT(!machine.busy && !machine.capturing, "one call at a time for a machine");
    machine.busy = true;
    machine.under_way = of_this_life(std::move(done));
    lose_commands(machine);
    set_timer(machine, delay, [this, id, end = std::move(end)] {
      Machine& then = known(id);
      then.busy = false;
      then.rebooting = false;
      then.timer = 0;
      const Done finished = std::exchange(then.under_way, nullptr);
      end(then);
      finished(nullptr);
    });
  }

  // Whether this call to end it is one of those that fail; `done` hears of it.
  bool fails_to_end(Machine& machine, const Done& done) {
    if (machine.behaviour.failing_ends == 0) return false;
    --machine.behaviour.failing_ends;
    loop.post([done = of_this_life(done), id = machine.spec.id] {
      done(std::make_exception_ptr(Error(ErrorCode::io, fmt::format("machine {} cannot be ended", id))));
    });
    return true;
  }

  void finish_terminate(const std::string& id) {
    Machine& machine = known(id);
    loop.cancel(machine.timer);
    std::vector<Done> waiting = std::move(machine.terminated);
    std::vector<CommandDone> lost;
    for (auto& [command, running] : machine.running) {
      loop.cancel(running.timer);
      if (running.done) lost.push_back(std::move(running.done));
    }
    addresses.erase(place_of(machine.spec.interface));
    volumes.release(id);
    machines.erase(id);
    for (const Done& done : waiting) done(nullptr);
    for (const CommandDone& done : lost) loop.post([done] { done(CommandEnd{}); });
  }

  // A call for a volume that the machine of that id has; empty: no machine.
  void on_volume(const std::string& machine, std::function<void()> act, Done done);

  host::Loop& loop;
  host::Random& random;
  Policy policy;
  SimulatedVolumes volumes;
  std::map<std::string, Machine> machines;
  std::map<std::pair<std::string, std::string>, std::string> addresses;  // VPC and address → id
  std::set<std::string> used;                                            // every id that was ever launched
  std::function<void(const Exit&)> listener;
  std::vector<Exit> unseen;
  bool attached = true;
  std::uint64_t life = 0;  // of the control plane; callbacks of an earlier one are dropped
  std::size_t launched = 0;
  std::size_t captured = 0;
};

SimulatedMachines::SimulatedMachines(host::Loop& loop, host::Random& random, Policy policy)
    : box_(std::make_unique<Box>(loop, random, std::move(policy))) {}

SimulatedMachines::~SimulatedMachines() {
  for (auto& [id, machine] : box_->machines) {
    box_->loop.cancel(machine.timer);
    for (auto& [command, running] : machine.running) box_->loop.cancel(running.timer);
  }
}

void SimulatedMachines::launch(const Spec& spec, Done done) {
  Box& box = *box_;
  KILN_ASSERT(!spec.id.empty() && !spec.interface.address.empty(), "a machine has an id and an address");
  KILN_ASSERT(box.used.insert(spec.id).second, "a machine's id is launched once, ever");
  KILN_ASSERT(box.addresses.emplace(Box::place_of(spec.interface), spec.id).second,
              "an address of a VPC belongs to one machine");
  for (const VolumeAt& at : spec.volumes) box.volumes.attach(spec.id, at.volume);
  ++box.launched;
  Box::Machine& machine = box.machines[spec.id];
  machine.spec = spec;
  machine.behaviour = box.policy(spec, box.random);
  box.say(machine, "starting " + spec.image.digest.short_str());
  machine.busy = true;
  machine.under_way = box.of_this_life(std::move(done));
  box.set_timer(machine, machine.behaviour.start, [&box, id = spec.id] {
    Box::Machine& then = box.known(id);
    then.busy = false;
    const Done finished = std::exchange(then.under_way, nullptr);
    if (!then.behaviour.launch_failure) {
      box.run(id);
      return finished(nullptr);
    }
    Error failure(ErrorCode::io, *then.behaviour.launch_failure);
    failure.add_context(fmt::format("launching {}", id));
    box.finish_terminate(id);
    finished(std::make_exception_ptr(failure));
  });
}

void SimulatedMachines::stop(const std::string& id, Duration deadline, Done done) {
  Box::Machine& machine = box_->known(id);
  if (machine.state != State::running && machine.state != State::stopped) {
    throw Error(ErrorCode::conflict, fmt::format("machine {} is busy and cannot be stopped", id));
  }
  if (box_->fails_to_end(machine, done)) return;
  const Duration takes = machine.state == State::stopped ? Duration(0) : std::min(machine.behaviour.stop, deadline);
  machine.state = State::stopping;
  box_->begin(
      id, takes,
      [this, id](Box::Machine& then) {
        then.state = State::stopped;
        box_->volumes.unmount(id);
      },
      std::move(done));
}

void SimulatedMachines::start(const std::string& id, Done done) {
  Box::Machine& machine = box_->known(id);
  if (machine.state != State::stopped) {
    throw Error(ErrorCode::conflict, fmt::format("machine {} is not stopped and cannot be started", id));
  }
  machine.state = State::starting;
  for (const VolumeAt& at : machine.spec.volumes) box_->volumes.attach(id, at.volume);
  box_->begin(
      id, machine.behaviour.start, [this, id](Box::Machine&) { box_->run(id); }, std::move(done));
}

void SimulatedMachines::resize(const std::string& id, const Limits& limits) { box_->known(id).spec.limits = limits; }

void SimulatedMachines::reboot(const std::string& id, Duration deadline, Done done) {
  Box::Machine& machine = box_->known(id);
  if (machine.state != State::running) {
    throw Error(ErrorCode::conflict, fmt::format("machine {} is not running and cannot be rebooted", id));
  }
  machine.state = State::starting;
  machine.rebooting = true;
  const Duration takes = std::min(machine.behaviour.stop, deadline) + machine.behaviour.start;
  box_->begin(
      id, takes, [this, id](Box::Machine&) { box_->run(id); }, std::move(done));
}

void SimulatedMachines::terminate(const std::string& id, Duration deadline, Done done) {
  Box& box = *box_;
  const auto found = box.machines.find(id);
  if (found != box.machines.end() && !found->second.terminating && box.fails_to_end(found->second, done)) return;
  const Done finished = box.of_this_life(std::move(done));
  if (found == box.machines.end()) return box.loop.post([finished] { finished(nullptr); });
  Box::Machine& machine = found->second;
  machine.terminated.push_back(finished);
  if (machine.terminating) return;
  machine.terminating = true;
  if (machine.under_way) {
    box.loop.post([overtaken = std::exchange(machine.under_way, nullptr), id] {
      overtaken(
          std::make_exception_ptr(Error(ErrorCode::cancelled, fmt::format("machine {} was terminated meanwhile", id))));
    });
  }
  const bool up = machine.state == State::running || machine.state == State::stopping;
  machine.state = State::stopping;
  const Duration takes = up ? std::min(machine.behaviour.stop, deadline) : Duration(0);
  box.set_timer(machine, takes, [&box, id] { box.finish_terminate(id); });
}

void SimulatedMachines::capture(const std::string& id, Captured done) {
  Box& box = *box_;
  Box::Machine& machine = box.known(id);
  if (machine.state != State::running && machine.state != State::stopped) {
    throw Error(ErrorCode::conflict, fmt::format("machine {} is busy and cannot be captured", id));
  }
  KILN_ASSERT(!machine.busy && !machine.capturing, "one call at a time for a machine");
  machine.capturing = true;
  ++box.captured;
  box.loop.after(machine.behaviour.capture, [&box, id, done = std::move(done), caller = box.life] {
    if (caller != box.life) return;
    const auto found = box.machines.find(id);
    if (found == box.machines.end()) {
      const Error overtaken(ErrorCode::cancelled, fmt::format("machine {} was terminated meanwhile", id));
      return done(std::make_exception_ptr(overtaken), Digest());
    }
    found->second.capturing = false;
    const auto& failure = found->second.behaviour.capture_failure;
    if (failure) return done(std::make_exception_ptr(Error(ErrorCode::disk_full, *failure)), Digest());
    done(nullptr, found->second.spec.image.digest);
  });
}

void SimulatedMachines::run(const std::string& id, const Command& command, CommandDone done) {
  Box& box = *box_;
  Box::Machine& machine = box.known(id);
  if (machine.state != State::running || machine.terminating || machine.busy) {
    throw Error(ErrorCode::conflict, fmt::format("machine {} does not run", id));
  }
  KILN_ASSERT(!command.id.empty() && command.id.size() <= 64, "a command has an id");
  const auto [found, made] = machine.running.try_emplace(command.id);
  KILN_ASSERT(!found->second.done, "a command is run once");
  found->second.done = [&box, done = std::move(done), caller = box.life](const CommandEnd& end) {
    if (caller == box.life) done(end);
  };
  if (!made) {
    if (found->second.ended) box.tell(id, command.id);
    return;
  }
  found->second.command = command;
  box.deliver(id, command.id, command.delivery);
}

void SimulatedMachines::cancel(const std::string& id, const std::string& command) {
  Box::Machine& machine = box_->known(id);
  const auto found = machine.running.find(command);
  if (found == machine.running.end() || found->second.ended) return;
  CommandEnd end = found->second.end;
  end.how = CommandEnd::How::cancelled;
  end.status = end.started == Time{} ? -1 : 137;
  box_->end_command(machine, command, end);
}

std::vector<Command> SimulatedMachines::commands(const std::string& id) const { return box_->known(id).begun; }

void SimulatedMachines::Box::on_volume(const std::string& machine, std::function<void()> act, Done done) {
  if (!machine.empty()) {
    Machine& at = known(machine);
    const bool free = (at.state == State::running || at.state == State::stopped) && !at.busy && !at.terminating;
    if (!free)
      throw Error(ErrorCode::conflict, fmt::format("machine {} is busy and has no time for a volume", machine));
    KILN_ASSERT(!at.capturing, "one call at a time for a machine");
    at.capturing = true;
  }
  loop.after(kVolumeTakes, [this, machine, act = std::move(act), done = std::move(done), caller = life] {
    if (caller != life) return;  // it died in the middle of it
    const auto at = machines.find(machine);
    if (at != machines.end()) at->second.capturing = false;
    std::exception_ptr failure;
    try {
      if (!machine.empty() && at == machines.end()) {
        throw Error(ErrorCode::cancelled, fmt::format("machine {} was terminated meanwhile", machine));
      }
      act();
    } catch (const Error&) {
      failure = std::current_exception();
    }
    done(failure);
  });
}

void SimulatedMachines::make_volume(const std::string& id, std::uint64_t gib, const std::string& origin, Done done) {
  SimulatedVolumes& volumes = box_->volumes;
  box_->on_volume(
      volumes.machine_of(origin), [&volumes, id, gib, origin] { volumes.make(id, gib, origin); }, done);
}

void SimulatedMachines::grow_volume(const std::string& id, std::uint64_t gib, Done done) {
  SimulatedVolumes& volumes = box_->volumes;
  box_->on_volume(
      volumes.machine_of(id), [&volumes, id, gib] { volumes.grow(id, gib); }, done);
}

void SimulatedMachines::remove_volume(const std::string& id, Done done) {
  box_->on_volume(
      "", [&volumes = box_->volumes, id] { volumes.remove(id); }, done);
}

void SimulatedMachines::attach_volume(const std::string& id, const VolumeAt& at, Done done) {
  const auto attach = [box = box_.get(), id, at] {
    box->volumes.attach(id, at.volume);
    auto& has = box->known(id).spec.volumes;
    if (std::find(has.begin(), has.end(), at) == has.end()) has.push_back(at);
  };
  box_->on_volume(box_->known(id).spec.id, attach, done);
}

void SimulatedMachines::detach_volume(const std::string& id, const std::string& volume, Done done) {
  const auto detach = [box = box_.get(), id, volume] {
    box->volumes.detach(volume);
    std::erase_if(box->known(id).spec.volumes, [&](const VolumeAt& at) { return at.volume == volume; });
  };
  box_->on_volume(box_->known(id).spec.id, detach, done);
}

void SimulatedMachines::image_of_volume(const std::string& id, const store::ImageConfig&, Captured done) {
  auto image = std::make_shared<Digest>();
  box_->on_volume(
      "", [&volumes = box_->volumes, id, image] { *image = volumes.root(id); },
      [image, done = std::move(done)](std::exception_ptr failure) { done(failure, *image); });
}

void SimulatedMachines::keep_volumes(const std::vector<std::string>& ids) { box_->volumes.keep(ids); }

SimulatedVolumes& SimulatedMachines::volumes() { return box_->volumes; }

State SimulatedMachines::state(const std::string& id) const {
  if (!box_->machines.contains(id) && box_->used.contains(id)) return State::gone;
  return box_->known(id).state;
}

std::string SimulatedMachines::console(const std::string& id) const { return box_->known(id).console; }

void SimulatedMachines::on_exit(std::function<void(const Exit&)> listener) { box_->listener = std::move(listener); }

std::vector<std::string> SimulatedMachines::adopt(const std::vector<Spec>& known) {
  Box& box = *box_;
  box.attached = true;
  std::set<std::string> wanted;
  for (const Spec& spec : known) {
    wanted.insert(spec.id);
    if (const auto machine = box.machines.find(spec.id); machine != box.machines.end()) {
      machine->second.spec.volumes = spec.volumes;
    }
  }
  std::vector<std::string> lost;
  std::vector<std::string> live;
  for (auto& [id, machine] : box.machines) {
    const bool half_launched = machine.state == State::starting && machine.running_since == Time{};
    if (!wanted.contains(id) || half_launched || machine.terminating) {
      lost.push_back(id);
      continue;
    }
    machine.capturing = false;
    if (machine.busy) {
      // Nobody waits for it any more: a start has not happened, and what was to stop or reboot runs still.
      box.loop.cancel(machine.timer);
      machine.timer = 0;
      machine.busy = false;
      const bool was_rebooting = std::exchange(machine.rebooting, false);
      machine.under_way = nullptr;
      machine.state = machine.state == State::starting && !was_rebooting ? State::stopped : State::running;
    }
    if (machine.state == State::running) {
      live.push_back(id);
    }
  }
  for (const std::string& id : lost) {
    box.finish_terminate(id);
    box.used.erase(id);  // a launch that was under way begins anew
  }
  std::vector<Exit> exits = std::exchange(box.unseen, {});
  std::erase_if(exits, [&](const Exit& exit) { return !box.machines.contains(exit.id); });
  for (const std::string& id : wanted) {
    if (!box.machines.contains(id)) exits.push_back({id, false, std::string(kNothingLeft)});
  }
  for (const Exit& exit : exits) {
    box.loop.post([&box, exit, caller = box.life] {
      if (caller == box.life && box.listener) box.listener(exit);
    });
  }
  return live;
}

int SimulatedMachines::http_status(const std::string& id, int port, const std::string& path) const {
  const auto found = box_->machines.find(id);
  if (found == box_->machines.end()) return -1;
  const Box::Machine& machine = found->second;
  if (machine.state != State::running) return machine.state == State::stopped ? -1 : 0;
  const Duration serving = box_->loop.now() - machine.running_since - machine.behaviour.serves;
  if (serving < Duration(0)) return 0;
  return machine.behaviour.http ? machine.behaviour.http(port, path, serving) : 200;
}

int SimulatedMachines::http_status_at(const std::string& address, int port, const std::string& path,
                                      const std::string& vpc) const {
  const auto found = std::find_if(box_->addresses.begin(), box_->addresses.end(), [&](const auto& entry) {
    return entry.first.second == address && (vpc.empty() || entry.first.first == vpc);
  });
  return found == box_->addresses.end() ? -1 : http_status(found->second, port, path);
}

void SimulatedMachines::kill(const std::string& id, const std::string& reason) {
  KILN_ASSERT(box_->known(id).state == State::running, "only a running machine can be killed");
  box_->die(id, reason);
}

void SimulatedMachines::remove_all() {
  KILN_ASSERT(!box_->attached, "machines are removed behind a control plane that is gone");
  for (const auto& [id, machine] : box_->machines) {
    box_->loop.cancel(machine.timer);
    for (const auto& [command, running] : machine.running) box_->loop.cancel(running.timer);
  }
  box_->machines.clear();
  box_->volumes.release_all();
  box_->addresses.clear();
  box_->used.clear();  // a launch that was under way begins anew
}

void SimulatedMachines::detach() {
  ++box_->life;
  for (auto& [id, machine] : box_->machines) {
    for (auto& [command, running] : machine.running) running.done = nullptr;
  }
  box_->attached = false;
  box_->listener = nullptr;
}

std::vector<std::string> SimulatedMachines::ids() const {
  std::vector<std::string> ids;
  for (const auto& [id, machine] : box_->machines) ids.push_back(id);
  return ids;
}

const Spec& SimulatedMachines::spec(const std::string& id) const { return box_->known(id).spec; }

std::size_t SimulatedMachines::launches() const { return box_->launched; }

std::size_t SimulatedMachines::captures() const { return box_->captured; }

int SimulatedMachines::boots(const std::string& id) const { return box_->known(id).boots; }

}  // namespace kiln::machine
