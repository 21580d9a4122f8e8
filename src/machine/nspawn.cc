// NspawnMachines: see nspawn.h. The states of machines are changed on the loop only; life.h's steps run off it; one
// timer looks at the supervisors.
#include "machine/nspawn.h"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <deque>
#include <map>
#include <set>
#include <utility>

#include "base/text.h"
#include "machine/internal/capture.h"
#include "machine/internal/commands.h"
#include "machine/internal/life.h"
#include "machine/internal/quick_file.h"
#include "machine/internal/volume.h"
#include "machine/internal/volume_root.h"
#include "machine/layers.h"
#include "machine/namespaces.h"
#include "machine/slots.h"
#include "machine/supervisor.h"

namespace kiln::machine {
namespace {

constexpr Duration kSoon{10};            // between looks while somebody waits for a start or an end
constexpr Duration kSeldom{100};         // between looks for machines that have died
constexpr Duration kInitMax{60'000};     // from the supervisor's start to init's, on a host that is very busy
constexpr std::size_t kGoneKept = 1024;  // ids of terminated machines whose state is still answered

enum class Act { none, launch, start, stop, reboot };

struct Machine {
  Spec spec;
  State state = State::starting;
  Act act = Act::none;
  Done done;             // of `act`
  bool working = false;  // a step is under way off the loop; only its end touches this machine
  bool terminating = false;
  std::vector<Done> terminated;
  std::optional<host::ProcessRef> supervisor;
  Duration deadline{0};  // uptime at which `act` (or terminate) loses its patience
  bool forced = false;   // it has been lost
  bool unclean = false;  // its end has left processes or cgroups that could not be removed
  int boot_before = 0;   // of a reboot
};

std::exception_ptr error_of(ErrorCode code, std::string message, std::string next = {}) {
  return std::make_exception_ptr(Error(code, std::move(message), std::move(next)));
}

void finish(Machine& machine, std::exception_ptr failure) {
  machine.act = Act::none;
  if (const Done done = std::exchange(machine.done, nullptr)) done(failure);
}

}  // namespace

struct NspawnMachines::Box : std::enable_shared_from_this<Box> {
  Box(host::Loop& l, store::Store& s, NspawnOptions options)
      : loop(l),
        store(s),
        place{std::move(options), host_limits()},
        layers(store, place.options.folder / "layers"),
        commands(std::make_shared<Commands>(loop, place)) {}

  Machine& known(const std::string& id) {
    const auto found = machines.find(id);
    if (found == machines.end()) throw Error(ErrorCode::not_found, fmt::format("machine {} does not exist", id));
    return found->second;
  }
  Machine& in_state(const std::string& id, State wanted, std::string_view verb) {
    Machine& machine = known(id);
    if (machine.terminating || machine.act != Act::none || machine.working || machine.state != wanted) {
      throw Error(ErrorCode::conflict, fmt::format("machine {} cannot be {} now", id, verb));
    }
    return machine;
  }

  // Runs `work` off the loop; then `then` on it, if this object still lives.
  void step(const std::string& id, std::function<void()> work, std::function<void(Machine&, std::exception_ptr)> then) {
    known(id).working = true;
    loop.offload(std::move(work), [weak = weak_from_this(), id, then = std::move(then)](std::exception_ptr failure) {
      const auto self = weak.lock();
      if (!self) return;
      Machine& machine = self->known(id);
      machine.working = false;
      then(machine, failure);
      self->watch();
    });
  }

  // On a full disk the record stays as it was: `adopt` then looks at the process, and finds the same.
  void record(const std::string& id, Record::Phase phase) {
    try {
      Record next = read_record(place.folder(id)).value_or(Record{});
      next.phase = phase;
      write_record(place.folder(id), next);
    } catch (const Error&) {
    }
  }

  // A step of a machine that waits for nothing else: what it was asked for meanwhile (to end) comes after it.
  void quiet_step(const std::string& id, std::function<void()> work,
                  std::function<void(Machine&, std::exception_ptr)> done);
  // The same for a volume, with its machine if it has one.
  void volume_step(const std::string& volume, std::function<void(const std::string& machine)> work, Done done);

  void begin_start(const std::string& id, Act act, Done done);
  void after_spawn(Machine& machine, std::exception_ptr failure, std::optional<host::ProcessRef> process);
  void fail_start(Machine& machine, std::exception_ptr failure);
  void ask(Machine& machine, Duration deadline);
  void ended(Machine& machine);
  void clean(const std::string& id, Done done);
  void remove(Machine& machine, std::exception_ptr launch_failure);
  void forget(const std::string& id);

  void watch();
  void look();
  void look_at(Machine& machine);

  host::Loop& loop;
  store::Store& store;
  Place place;
  Layers layers;
  std::shared_ptr<Commands> commands;
  std::map<std::string, Machine> machines;
  std::set<std::string> gone;
  std::deque<std::string> gone_order;
  std::function<void(const Exit&)> listener;
  host::TimerId timer = 0;
  Duration timer_at{0};
};

void NspawnMachines::Box::quiet_step(const std::string& id, std::function<void()> work,
                                     std::function<void(Machine&, std::exception_ptr)> done) {
  const bool running = known(id).state == State::running;
  in_state(id, running ? State::running : State::stopped, "changed");
  step(id, std::move(work), [this, done = std::move(done)](Machine& then, std::exception_ptr failure) {
    done(then, failure);
    if (then.terminating && then.supervisor) {
      ask(then, Duration(0));
    } else if (then.terminating) {
      remove(then, nullptr);
    }
  });
}

void NspawnMachines::Box::volume_step(const std::string& volume, std::function<void(const std::string& machine)> work,
                                      Done done) {
  check_id(volume);
  for (const auto& [id, machine] : machines) {
    const auto& has = machine.spec.volumes;
    if (std::none_of(has.begin(), has.end(), [&](const VolumeAt& at) { return at.volume == volume; })) continue;
    return quiet_step(
        id, [work = std::move(work), name = id] { work(name); },
        [done = std::move(done)](Machine&, std::exception_ptr failure) { done(failure); });
  }
  loop.offload([work = std::move(work)] { work(""); },
               [weak = weak_from_this(), done = std::move(done)](std::exception_ptr failure) {
                 if (!weak.expired()) done(failure);
               });
}

// ---- starting

void NspawnMachines::Box::begin_start(const std::string& id, Act act, Done done) {
  Machine& machine = known(id);
  machine.state = State::starting;
  machine.act = act;
  machine.done = std::move(done);
  machine.forced = false;
  auto process = std::make_shared<std::optional<host::ProcessRef>>();
  step(
      id,
      [self = shared_from_this(), spec = machine.spec, process, act] {
        const auto phase = act == Act::launch ? Record::Phase::launching : Record::Phase::starting;
        *process = start_machine(self->place, self->layers, spec, phase);
      },
      [this, process](Machine& then, std::exception_ptr failure) { after_spawn(then, failure, *process); });
}

void NspawnMachines::Box::after_spawn(Machine& machine, std::exception_ptr failure,
                                      std::optional<host::ProcessRef> process) {
  machine.supervisor = process;
  machine.deadline = loop.clock().uptime() + kInitMax;
  if (failure) return fail_start(machine, failure);
  if (machine.terminating) ask(machine, Duration(0));
}

// What was made for a launch goes; a machine that was only started again keeps its disk.
void NspawnMachines::Box::fail_start(Machine& machine, std::exception_ptr failure) {
  const std::string id = machine.spec.id;
  if (machine.act == Act::launch || machine.terminating) return remove(machine, failure);
  machine.supervisor.reset();
  step(
      id, [self = shared_from_this(), id] { clear_processes(self->place, id); },
      [this, id, failure](Machine& then, std::exception_ptr) {
        then.state = State::stopped;
        record(id, Record::Phase::stopped);
        if (then.terminating) return remove(then, nullptr);
        finish(then, failure);
      });
}

// ---- ending

void NspawnMachines::Box::ask(Machine& machine, Duration deadline) {
  machine.state = State::stopping;
  machine.forced = false;
  machine.deadline = loop.clock().uptime() + deadline;
  if (machine.supervisor) host::send_signal(*machine.supervisor, deadline > Duration(0) ? SIGTERM : SIGKILL);
  watch();
}

// The supervisor is gone.
void NspawnMachines::Box::ended(Machine& machine) {
  const std::string id = machine.spec.id;
  const auto status = read_status(place.folder(id));
  machine.supervisor.reset();
  if (machine.terminating) return remove(machine, nullptr);
  if (machine.act == Act::launch || machine.act == Act::start) {
    const std::string reason = status && !status->ended.empty() ? status->ended : "its supervisor was killed";
    return fail_start(
        machine, std::make_exception_ptr(start_error(place.folder(id), "it ended before its init ran: " + reason)));
  }
  const bool asked = machine.act == Act::stop;
  const std::string reason = status && !status->ended.empty() ? status->ended : "its supervisor was killed";
  step(
      id, [self = shared_from_this(), id] { clear_processes(self->place, id); },
      [this, id, asked, reason](Machine& then, std::exception_ptr failure) {
        then.state = State::stopped;
        then.unclean = failure != nullptr;
        record(id, Record::Phase::stopped);
        if (then.terminating) return remove(then, nullptr);
        if (then.act == Act::reboot && !failure) {
          failure = error_of(ErrorCode::io, fmt::format("machine {} ended while it was rebooted: {}", id, reason));
        }
        finish(then, failure);
        if (!asked && listener) listener(Exit{id, false, reason});
      });
}

// Tries again what the end of a machine that is stopped could not remove.
void NspawnMachines::Box::clean(const std::string& id, Done done) {
  Machine& machine = known(id);
  machine.act = Act::stop;
  machine.done = std::move(done);
  step(
      id, [self = shared_from_this(), id] { clear_processes(self->place, id); },
      [this](Machine& then, std::exception_ptr failure) {
        then.unclean = failure != nullptr;
        if (then.terminating) return remove(then, nullptr);
        finish(then, failure);
      });
}

void NspawnMachines::Box::remove(Machine& machine, std::exception_ptr launch_failure) {
  const std::string id = machine.spec.id;
  machine.state = State::stopping;
  machine.supervisor.reset();
  step(
      id,
      [self = shared_from_this(), id] {
        remove_machine(self->place, id);
        self->layers.release(id);
      },
      [this, id, launch_failure](Machine& then, std::exception_ptr failure) {
        Machine last = std::move(then);
        if (failure && !launch_failure) {
          // It stays known, so that `terminate` can be tried again.
          std::vector<Done> waiting = std::exchange(last.terminated, {});
          last.terminating = false;
          last.state = State::stopped;
          machines[id] = std::move(last);
          for (const Done& done : waiting) done(failure);
          return;
        }
        forget(id);
        if (last.done)
          last.done(launch_failure
                        ? launch_failure
                        : error_of(ErrorCode::cancelled, fmt::format("machine {} was terminated meanwhile", id)));
        for (const Done& done : last.terminated) done(nullptr);
      });
}

void NspawnMachines::Box::forget(const std::string& id) {
  machines.erase(id);
  if (gone.insert(id).second) gone_order.push_back(id);
  if (gone_order.size() <= kGoneKept) return;
  gone.erase(gone_order.front());
  gone_order.pop_front();
}

// ---- watching

// One timer for all machines: soon when somebody waits, seldom otherwise, none when there is nothing to see.
void NspawnMachines::Box::watch() {
  bool any = false;
  bool soon = false;
  for (const auto& [id, machine] : machines) {
    if (!machine.supervisor || machine.working) continue;
    any = true;
    soon = soon || machine.act != Act::none || machine.terminating;
  }
  if (!any) return;
  const Duration at = loop.clock().uptime() + (soon ? kSoon : kSeldom);
  if (timer != 0 && timer_at <= at) return;
  loop.cancel(timer);
  timer_at = at;
  timer = loop.after(soon ? kSoon : kSeldom, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->look();
  });
}

void NspawnMachines::Box::look() {
  timer = 0;
  std::vector<std::string> ids;
  for (const auto& [id, machine] : machines) {
    if (machine.supervisor && !machine.working) ids.push_back(id);
  }
  for (const std::string& id : ids) {
    // A callback may have ended it.
    const auto found = machines.find(id);
    if (found != machines.end() && found->second.supervisor && !found->second.working) look_at(found->second);
  }
  watch();
}

void NspawnMachines::Box::look_at(Machine& machine) {
  if (!host::alive(*machine.supervisor)) return ended(machine);
  const bool late = loop.clock().uptime() >= machine.deadline;
  if (machine.terminating || machine.act == Act::stop) {
    if (late && !std::exchange(machine.forced, true)) host::send_signal(*machine.supervisor, SIGKILL);
    return;
  }
  if (machine.act == Act::none) return;
  const auto status = read_status(place.folder(machine.spec.id));
  const bool booted = status && status->supervisor == *machine.supervisor && status->init.pid > 0 &&
                      (machine.act != Act::reboot || status->boot > machine.boot_before);
  if (booted) {
    machine.state = State::running;
    record(machine.spec.id, Record::Phase::running);
    return finish(machine, nullptr);
  }
  if (!late) return;
  if (machine.act == Act::reboot && !std::exchange(machine.forced, true)) {
    host::send_signal(*machine.supervisor, SIGUSR2);
    machine.deadline += kInitMax;
    return;
  }
  // Its end is seen at the next look, and fails the call.
  host::send_signal(*machine.supervisor, SIGKILL);
}

// ---- the contract

NspawnMachines::NspawnMachines(host::Loop& loop, store::Store& store, NspawnOptions options)
    : box_(std::make_shared<Box>(loop, store, std::move(options))) {}

NspawnMachines::~NspawnMachines() {
  box_->loop.cancel(box_->timer);
  box_->commands->close();
}

void NspawnMachines::launch(const Spec& spec, Done done) {
  check_id(spec.id);
  if (box_->machines.contains(spec.id) || box_->gone.contains(spec.id)) {
    throw Error(ErrorCode::already_exists, fmt::format("machine {} exists already", spec.id));
  }
  const host::Path folder = box_->place.folder(spec.id);
  make_instances_folder(box_->place.options.folder);
  host::make_folders(folder, 0700);
  write_record(folder, Record{});
  box_->machines[spec.id].spec = spec;
  box_->begin_start(spec.id, Act::launch, std::move(done));
}

void NspawnMachines::start(const std::string& id, Done done) {
  box_->in_state(id, State::stopped, "started");
  box_->begin_start(id, Act::start, std::move(done));
}

void NspawnMachines::resize(const std::string& id, const Limits& limits) {
  box_->in_state(id, State::stopped, "resized").spec.limits = limits;
}

void NspawnMachines::stop(const std::string& id, Duration deadline, Done done) {
  if (box_->known(id).state == State::stopped && box_->known(id).act == Act::none && !box_->known(id).working) {
    if (box_->known(id).unclean) return box_->clean(id, std::move(done));
    return box_->loop.post([done = std::move(done)] { done(nullptr); });
  }
  Machine& machine = box_->in_state(id, State::running, "stopped");
  machine.act = Act::stop;
  machine.done = std::move(done);
  box_->record(id, Record::Phase::stopping);
  box_->ask(machine, deadline);
}

void NspawnMachines::reboot(const std::string& id, Duration deadline, Done done) {
  Machine& machine = box_->in_state(id, State::running, "rebooted");
  const auto status = read_status(box_->place.folder(id));
  machine.act = Act::reboot;
  machine.done = std::move(done);
  machine.state = State::starting;
  machine.forced = false;
  machine.boot_before = status ? status->boot : 0;
  machine.deadline = box_->loop.clock().uptime() + deadline;
  host::send_signal(*machine.supervisor, SIGUSR1);
  box_->watch();
}

void NspawnMachines::terminate(const std::string& id, Duration deadline, Done done) {
  if (!box_->machines.contains(id)) {
    return box_->loop.post([done = std::move(done)] { done(nullptr); });
  }
  Machine& machine = box_->known(id);
  machine.terminated.push_back(std::move(done));
  if (machine.terminating) return;
  machine.terminating = true;
  // A step under way ends first; its end sees that we are terminating.
  if (!machine.working && machine.act != Act::none) {
    box_->loop.post([overtaken = std::exchange(machine.done, nullptr), id] {
      if (overtaken) overtaken(error_of(ErrorCode::cancelled, fmt::format("machine {} was terminated meanwhile", id)));
    });
    machine.act = Act::none;
  }
  if (machine.working) return;  // the record is the step's
  box_->record(id, Record::Phase::terminating);
  if (machine.supervisor)
    return box_->ask(machine, machine.state == State::running ? deadline : std::min(deadline, Duration(2000)));
  box_->remove(machine, nullptr);
}

void NspawnMachines::capture(const std::string& id, Captured done) {
  const Machine& machine = box_->known(id);
  auto image = std::make_shared<Digest>();
  box_->quiet_step(
      id,
      [self = box_, spec = machine.spec, running = machine.state == State::running, image] {
        const host::Path folder = self->place.folder(spec.id);
        machine::attach_volume(folder, self->place.templates(), spec.disk_gib);
        *image = capture_disk(self->store, folder, spec, running);
      },
      [image, done = std::move(done)](Machine&, std::exception_ptr failure) { done(failure, *image); });
}

void NspawnMachines::make_volume(const std::string& id, std::uint64_t gib, const std::string& origin, Done done) {
  check_id(id);
  box_->volume_step(
      origin.empty() ? id : origin,
      [self = box_, id, gib, origin](const std::string& machine) {
        make_volume_of(self->place, id, gib, origin, machine);
      },
      std::move(done));
}

void NspawnMachines::grow_volume(const std::string& id, std::uint64_t gib, Done done) {
  box_->volume_step(
      id, [self = box_, id, gib](const std::string&) { self->place.volumes().grow(id, gib); }, std::move(done));
}

void NspawnMachines::remove_volume(const std::string& id, Done done) {
  box_->volume_step(
      id, [self = box_, id](const std::string&) { self->place.volumes().remove(id); }, std::move(done));
}

void NspawnMachines::attach_volume(const std::string& id, const VolumeAt& at, Done done) {
  check_id(at.volume);
  box_->quiet_step(
      id, [self = box_, id, at] { attach_volume_to(self->place, id, at); },
      [at, done = std::move(done)](Machine& then, std::exception_ptr failure) {
        std::vector<VolumeAt>& has = then.spec.volumes;
        if (!failure && std::find(has.begin(), has.end(), at) == has.end()) has.push_back(at);
        done(failure);
      });
}

void NspawnMachines::detach_volume(const std::string& id, const std::string& volume, Done done) {
  box_->quiet_step(
      id, [self = box_, id, volume] { detach_volume_from(self->place, id, volume); },
      [volume, done = std::move(done)](Machine& then, std::exception_ptr failure) {
        if (!failure) std::erase_if(then.spec.volumes, [&](const VolumeAt& at) { return at.volume == volume; });
        done(failure);
      });
}

void NspawnMachines::image_of_volume(const std::string& id, const store::ImageConfig& config, Captured done) {
  auto image = std::make_shared<Digest>();
  const auto work = [self = box_, id, config, image](const std::string&) {
    *image = capture_volume(self->store, self->place.volumes().file(id), config);
  };
  box_->volume_step(id, work, [image, done = std::move(done)](auto failure) { done(failure, *image); });
}

void NspawnMachines::keep_volumes(const std::vector<std::string>& ids) {
  box_->place.volumes().keep({ids.begin(), ids.end()});
}

void NspawnMachines::run(const std::string& id, const Command& command, CommandDone done) {
  const Machine& machine = box_->known(id);
  if (machine.terminating || machine.state != State::running) {
    throw Error(ErrorCode::conflict, fmt::format("machine {} does not run", id));
  }
  box_->commands->run(id, command, std::move(done));
}

void NspawnMachines::cancel(const std::string& id, const std::string& command) {
  box_->known(id);
  box_->commands->cancel(id, command);
}

State NspawnMachines::state(const std::string& id) const {
  if (!box_->machines.contains(id) && box_->gone.contains(id)) return State::gone;
  return box_->known(id).state;
}

std::string NspawnMachines::console(const std::string& id) const {
  box_->known(id);
  std::string text = read_quick_file(box_->place.folder(id) / "console.log").value_or("");
  if (text.size() > kConsoleKept) text.erase(0, text.size() - kConsoleKept);
  return text;
}

void NspawnMachines::on_exit(std::function<void(const Exit&)> listener) { box_->listener = std::move(listener); }

std::vector<std::string> NspawnMachines::adopt(const std::vector<Spec>& known) {
  Box& box = *box_;
  KILN_ASSERT(box.machines.empty(), "adoption comes before all else");
  std::map<std::string, Spec> wanted;
  for (const Spec& spec : known) wanted[spec.id] = spec;
  std::map<std::string, host::ProcessRef> supervisors;
  for (const auto& [id, process] : running_supervisors(box.place.options.folder)) supervisors[id] = process;

  const auto report = [&box](Exit exit) {
    box.loop.post([weak = box.weak_from_this(), exit = std::move(exit)] {
      const auto self = weak.lock();
      if (self && self->listener) self->listener(exit);
    });
  };

  std::vector<std::string> live;
  for (const std::string& id : host::list_folder(make_instances_folder(box.place.options.folder))) {
    const auto spec = wanted.find(id);
    const auto record = read_record(box.place.folder(id));
    const auto status = read_status(box.place.folder(id));
    const auto process = supervisors.find(id);
    const bool booted = process != supervisors.end() && status && status->supervisor == process->second &&
                        (status->init.pid > 0 || status->boot > 1);
    const bool half = !record || (record->phase == Record::Phase::launching && !booted) ||
                      record->phase == Record::Phase::terminating;
    if (spec == wanted.end() || half) {
      remove_machine(box.place, id);
      continue;
    }
    Machine& machine = box.machines[id];
    machine.spec = spec->second;
    thaw_volume(box.place.folder(id));
    thaw_volumes(box.place, id);
    try {
      box.layers.hold(id, machine.spec.image);
    } catch (const Error&) {
      // A machine that runs has its layers open and goes on without their blobs; one that does not fails at its start.
    }
    if (booted) {
      machine.supervisor = process->second;
      machine.state = State::running;
      box.record(id, Record::Phase::running);
      live.push_back(id);
      continue;
    }
    clear_processes(box.place, id);
    machine.state = State::stopped;
    const bool unseen = record->phase != Record::Phase::stopped && record->phase != Record::Phase::stopping;
    box.record(id, Record::Phase::stopped);
    if (!unseen) continue;
    const std::string reason = status && !status->ended.empty() ? status->ended : "its supervisor was killed";
    report(Exit{id, false, reason});
  }
  for (const auto& [id, spec] : wanted) {
    if (!box.machines.contains(id)) report(Exit{id, false, std::string(kNothingLeft)});
  }
  for (const std::string& name : machine_namespaces(box.place.options.slot)) {
    const std::string id = name.substr(name.find('-') + 1);
    if (!box.machines.contains(id)) remove_namespace(name);
  }
  box.layers.sweep();
  box.watch();
  return live;
}

}  // namespace kiln::machine
