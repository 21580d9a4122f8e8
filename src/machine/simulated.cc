// Simulated machines and network: see simulated.h.
#include "machine/simulated.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "base/text.h"
#include "machine/slots.h"

namespace kiln::machine {
namespace {

// Whether `cidr` ("10.0.0.0/8" or "10.1.2.3") holds `address`.
bool holds(const std::string& cidr, const std::string& address) {
  const auto slash = cidr.find('/');
  in_addr network{};
  in_addr host{};
  if (::inet_pton(AF_INET, cidr.substr(0, slash).c_str(), &network) != 1 ||
      ::inet_pton(AF_INET, address.c_str(), &host) != 1) {
    throw Error(ErrorCode::invalid, fmt::format("\"{}\" or \"{}\" is no IPv4 address", cidr, address));
  }
  const auto prefix = slash == std::string::npos ? std::int64_t{32} : parse_int(cidr.substr(slash + 1)).value_or(-1);
  if (prefix < 0 || prefix > 32) throw Error(ErrorCode::invalid, fmt::format("\"{}\" is no CIDR", cidr));
  const std::uint32_t mask = prefix == 0 ? 0 : ~std::uint32_t{0} << (32 - prefix);
  return (ntohl(network.s_addr) & mask) == (ntohl(host.s_addr) & mask);
}

}  // namespace

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
    bool terminating = false;
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
    KILN_ASSERT(!machine.busy, "one call at a time for a machine");
    machine.busy = true;
    machine.under_way = of_this_life(std::move(done));
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
    addresses.erase(place_of(machine.spec.interface));
    machines.erase(id);
    for (const Done& done : waiting) done(nullptr);
  }

  host::Loop& loop;
  host::Random& random;
  Policy policy;
  std::map<std::string, Machine> machines;
  std::map<std::pair<std::string, std::string>, std::string> addresses;  // VPC and address → id
  std::set<std::string> used;                                            // every id that was ever launched
  std::function<void(const Exit&)> listener;
  std::vector<Exit> unseen;
  bool attached = true;
  std::uint64_t life = 0;  // of the control plane; callbacks of an earlier one are dropped
  std::size_t launched = 0;
};

SimulatedMachines::SimulatedMachines(host::Loop& loop, host::Random& random, Policy policy)
    : box_(std::make_unique<Box>(loop, random, std::move(policy))) {}

SimulatedMachines::~SimulatedMachines() {
  for (auto& [id, machine] : box_->machines) box_->loop.cancel(machine.timer);
}

void SimulatedMachines::launch(const Spec& spec, Done done) {
  Box& box = *box_;
  KILN_ASSERT(!spec.id.empty() && !spec.interface.address.empty(), "a machine has an id and an address");
  KILN_ASSERT(box.used.insert(spec.id).second, "a machine's id is launched once, ever");
  KILN_ASSERT(box.addresses.emplace(Box::place_of(spec.interface), spec.id).second,
              "an address of a VPC belongs to one machine");
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
      id, takes, [](Box::Machine& then) { then.state = State::stopped; }, std::move(done));
}

void SimulatedMachines::start(const std::string& id, Done done) {
  Box::Machine& machine = box_->known(id);
  if (machine.state != State::stopped) {
    throw Error(ErrorCode::conflict, fmt::format("machine {} is not stopped and cannot be started", id));
  }
  machine.state = State::starting;
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
  for (const Spec& spec : known) wanted.insert(spec.id);
  std::vector<std::string> lost;
  std::vector<std::string> live;
  for (auto& [id, machine] : box.machines) {
    const bool half_launched = machine.state == State::starting && machine.running_since == Time{};
    if (!wanted.contains(id) || half_launched || machine.terminating) {
      lost.push_back(id);
      continue;
    }
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
  for (const auto& [id, machine] : box_->machines) box_->loop.cancel(machine.timer);
  box_->machines.clear();
  box_->addresses.clear();
  box_->used.clear();  // a launch that was under way begins anew
}

void SimulatedMachines::detach() {
  ++box_->life;
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

int SimulatedMachines::boots(const std::string& id) const { return box_->known(id).boots; }

void SimulatedNetwork::open() { open_ = true; }

void SimulatedNetwork::close() {
  open_ = false;
  ports_.clear();
  made_.clear();
}

void SimulatedNetwork::apply(const std::vector<Vpc>& vpcs) {
  KILN_ASSERT(open_, "the network is open");
  ++applies_;
  if (failing_applies_ > 0) {
    --failing_applies_;
    throw Error(ErrorCode::io, "the rules cannot be changed");
  }
  std::set<std::string> ids;
  std::set<std::string> public_addresses;
  std::set<std::string> made;
  ports_.clear();
  for (const Vpc& vpc : vpcs) {
    std::set<std::string> addresses;
    KILN_ASSERT(ids.insert(vpc.id).second, "a VPC is named once");
    if (vpc.needed || !vpc.ports.empty() || made_.contains(vpc.id)) made.insert(vpc.id);
    for (const Port& port : vpc.ports) {
      KILN_ASSERT(port.interface.vpc == vpc.id, "a port is in the VPC that it names");
      KILN_ASSERT(ids.insert(port.id).second, "a machine has one port");
      KILN_ASSERT(addresses.insert(port.interface.address).second, "an address belongs to one machine");
      KILN_ASSERT(port.public_address.empty() || public_addresses.insert(port.public_address).second,
                  "a public address belongs to one machine");
      ports_.push_back(port);
    }
  }
  const std::set<std::string> before = std::exchange(made_, std::move(made));
  if (!listener_) return;
  for (const std::string& vpc : made_) {
    if (!before.contains(vpc)) listener_(vpc, true);
  }
  for (const std::string& vpc : before) {
    if (!made_.contains(vpc)) listener_(vpc, false);
  }
}

void SimulatedNetwork::on_change(std::function<void(const std::string& vpc, bool there)> listener) {
  listener_ = std::move(listener);
}

host::FileDescriptor SimulatedNetwork::listen(const std::string& vpc, const std::string&, int) {
  if (!made_.contains(vpc)) throw Error(ErrorCode::not_found, fmt::format("the VPC {} has no network", vpc));
  return {};
}

std::string SimulatedNetwork::loopback_address(int number) const { return slot_loopback_address(slot_, number); }

bool SimulatedNetwork::lets_in(const std::string& source, const std::string& address, int port) const {
  const auto found =
      std::find_if(ports_.begin(), ports_.end(), [&](const Port& each) { return each.interface.address == address; });
  if (found == ports_.end()) return false;
  return std::any_of(found->ingress.begin(), found->ingress.end(), [&](const IngressRule& rule) {
    const bool tcp =
        rule.protocol == "-1" || (rule.protocol == "tcp" && rule.from_port <= port && port <= rule.to_port);
    return tcp && std::any_of(rule.sources.begin(), rule.sources.end(),
                              [&](const std::string& cidr) { return holds(cidr, source); });
  });
}

}  // namespace kiln::machine
