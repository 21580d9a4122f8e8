// Simulated machines and network: timers instead of computers, for tests of what stands above them. Everything that
// happens follows from the policy and the seed, in the virtual time of the loop that is given.
//
// Stricter than the real ones: a machine launched twice, a call for an unknown id, two calls for one machine that
// contradict each other, an address used twice, are broken invariants and abort, or are Errors where the contract says
// so.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "host/loop.h"
#include "host/random.h"
#include "machine/machine.h"
#include "machine/network.h"
#include "machine/simulated_volumes.h"

namespace kiln::machine {

// What a command in a machine does, if nobody ends it before.
struct CommandRun {
  Duration takes{50};
  int status = 0;
  std::string out;
  std::string err;
};

// How one machine behaves. Times count from the call that they answer.
struct Behaviour {
  Duration start{400};                        // launch → init runs
  std::optional<std::string> launch_failure;  // launch fails with this, after `start`
  Duration serves{600};                       // init runs → its service answers; before that connections are refused
  Duration stop{500};                         // asked to stop → gone, unless the deadline is shorter
  std::optional<Duration> dies;               // init runs → ends by itself
  Duration reachable{100};                    // init runs → it can be asked to run commands
  bool agent = true;                          // false: it never can
  // What a command does. Null: nothing, with success, in 50 ms.
  std::function<CommandRun(const Command&)> command;
  Duration capture{300};
  std::optional<std::string> capture_failure;  // each capture fails with this, after `capture`
  int failing_ends = 0;                        // so many calls of stop and terminate fail, and change nothing
  // What its service answers, by port, path and time since it serves: an HTTP status, 0 = connection refused, -1 = no
  // answer. Null: 200 to everything on every port.
  std::function<int(int port, const std::string& path, Duration serving)> http;
};

using Policy = std::function<Behaviour(const Spec& spec, host::Random& random)>;
// The default: start 300..500 ms, serves 200..600 ms later, stops in 100..900 ms, never fails.
Behaviour ordinary(const Spec& spec, host::Random& random);

class SimulatedMachines final : public Machines {
 public:
  // Both must outlive this.
  SimulatedMachines(host::Loop& loop, host::Random& random, Policy policy = ordinary);
  ~SimulatedMachines() override;

  void launch(const Spec& spec, Done done) override;
  void stop(const std::string& id, Duration deadline, Done done) override;
  void start(const std::string& id, Done done) override;
  void resize(const std::string& id, const Limits& limits) override;
  void reboot(const std::string& id, Duration deadline, Done done) override;
  void terminate(const std::string& id, Duration deadline, Done done) override;
  // The image is the machine's own: it has written nothing.
  void capture(const std::string& id, Captured done) override;
  void run(const std::string& id, const Command& command, CommandDone done) override;
  void cancel(const std::string& id, const std::string& command) override;
  void make_volume(const std::string& id, std::uint64_t gib, const std::string& origin, Done done) override;
  void grow_volume(const std::string& id, std::uint64_t gib, Done done) override;
  void remove_volume(const std::string& id, Done done) override;
  void attach_volume(const std::string& id, const VolumeAt& at, Done done) override;
  void detach_volume(const std::string& id, const std::string& volume, Done done) override;
  // Of a volume whose content is the digest of one.
  void image_of_volume(const std::string& id, const store::ImageConfig& config, Captured done) override;
  void keep_volumes(const std::vector<std::string>& ids) override;
  State state(const std::string& id) const override;
  std::string console(const std::string& id) const override;
  void on_exit(std::function<void(const Exit&)> listener) override;
  std::vector<std::string> adopt(const std::vector<Spec>& known) override;

  // What a probe of this machine would see now: an HTTP status, 0 = connection refused, -1 = no answer (no such
  // machine).
  int http_status(const std::string& id, int port, const std::string& path) const;
  // The same by the machine's address in a VPC; empty: of the first that has a machine there.
  int http_status_at(const std::string& address, int port, const std::string& path, const std::string& vpc = {}) const;
  // The machine dies now, as by kill -9.
  void kill(const std::string& id, const std::string& reason);
  // The control plane dies: no callback or listener of before is called any more; machines live on until `adopt`.
  void detach();
  // After `detach`: all of them are removed, as `region stop` does.
  void remove_all();
  SimulatedVolumes& volumes();
  // Of machines that have a disk (running or not), sorted.
  std::vector<std::string> ids() const;
  const Spec& spec(const std::string& id) const;
  // Commands that were begun in it, in their order, without those that its init could not be asked for.
  std::vector<Command> commands(const std::string& id) const;
  std::size_t launches() const;            // since the beginning, with the failed ones
  std::size_t captures() const;            // since the beginning, with the failed ones
  int boots(const std::string& id) const;  // how often its init has begun to run

 private:
  struct Box;
  std::unique_ptr<Box> box_;
};

// Keeps what it was told, and answers who may reach whom by the same rules as the real one.
class SimulatedNetwork final : public Network {
 public:
  explicit SimulatedNetwork(int slot = 0) : slot_(slot) {}
  void open() override;
  void close() override;
  void apply(const std::vector<Vpc>& vpcs) override;
  std::vector<std::string> problems() const override { return problems_; }
  void on_change(std::function<void(const std::string& vpc, bool there)> listener) override;
  host::FileDescriptor listen(const std::string& vpc, const std::string& address, int port) override;
  std::string loopback_address(int number) const override;

  std::vector<std::string> made() const { return {made_.begin(), made_.end()}; }
  const std::vector<Port>& ports() const { return ports_; }  // of all VPCs; the interface names its own
  // The next so many calls of `apply` fail, and change nothing.
  void fail_applies(int count) { failing_applies_ = count; }
  int applies() const { return applies_; }  // those that failed too
  // What `problems` says from now on.
  void set_problems(std::vector<std::string> problems) { problems_ = std::move(problems); }
  bool is_open() const { return open_; }
  // Whether a TCP connection from `source` (an IPv4 address) to that port of the machine with `address` is let in; of
  // the first VPC that has a machine there.
  bool lets_in(const std::string& source, const std::string& address, int port) const;

 private:
  int slot_;
  bool open_ = false;
  int failing_applies_ = 0;
  int applies_ = 0;
  std::vector<std::string> problems_;
  std::vector<Port> ports_;
  std::set<std::string> made_;
  std::function<void(const std::string& vpc, bool there)> listener_;
};

}  // namespace kiln::machine
