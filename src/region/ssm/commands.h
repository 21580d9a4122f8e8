// Commands: what Run Command does: scripts in instances, by the agent that every machine has.
//
// It lives on the region's loop. A command and each of its invocations are in the journal before a machine is asked,
// and the machine's host knows what it has begun: after a restart `open` asks it for the ends, and nothing runs twice.
// Commands are kept for 30 days, as AWS does, and no more than `kInvocationsKept` invocations in all; the oldest that
// have ended go first.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "host/loop.h"
#include "host/random.h"
#include "machine/machine.h"
#include "region/ec2/ec2.h"
#include "region/journal.h"
#include "region/ssm/model.h"

namespace kiln::region::ssm {

inline constexpr std::size_t kInvocationsKept = 2000;  // of up to 32 KB each
inline constexpr std::int64_t kTimeoutMin = 30;        // seconds; SendCommand's page
inline constexpr std::int64_t kTimeoutMax = 2'592'000;

struct CommandOptions {
  std::string region = "us-east-1";
  std::string account = "123456789012";
};

class Commands {
 public:
  // All must outlive it.
  Commands(host::Loop& loop, host::Random& random, Tables& journal, machine::Machines& machines, ec2::Ec2& ec2,
           CommandOptions options);
  ~Commands();
  // After EC2's: its instances and their machines must be known.
  void open();

  // `asked` has everything but id, time and invocations. ApiError InvalidInstanceId when an instance is no managed
  // node.
  const Command& send(Command asked);
  // Those of the named instances, or all; what has ended stays as it is. ApiError InvalidCommandId, InvalidInstanceId.
  void cancel(const std::string& id, const std::vector<std::string>& instance_ids);

  const std::map<std::string, Command>& commands() const;
  const Command& command(const std::string& id) const;  // ApiError InvalidCommandId
  // ApiError InvocationDoesNotExist.
  const Invocation& invocation(const std::string& id, const std::string& instance_id) const;
  // Whether GetCommandInvocation would answer with an end; true also for what does not exist.
  bool settled(const std::string& id, const std::string& instance_id) const;

  // Managed nodes of instances that are not terminated, by id.
  const std::map<std::string, Node>& nodes() const;
  const ec2::Tags& tags(const Node& node) const;  // its instance's
  // "Online", "ConnectionLost".
  std::string ping_status(const Node& node) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kiln::region::ssm
