// Commands: those that run in real machines: their folders, their agents, and who is told of their ends.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "host/loop.h"
#include "host/process.h"
#include "machine/internal/life.h"
#include "machine/machine.h"

namespace kiln::machine {

class Commands : public std::enable_shared_from_this<Commands> {
 public:
  // `loop` must outlive this; all calls are on its thread.
  Commands(host::Loop& loop, Place place);

  // See Machines::run; the machine is known and runs. Throws Error(invalid) for an id that is not one.
  void run(const std::string& machine, const Command& command, CommandDone done);
  void cancel(const std::string& machine, const std::string& command);
  void close();  // callbacks are not called any more

 private:
  using Key = std::pair<std::string, std::string>;  // machine, command
  struct Running {
    CommandDone done;
    std::optional<host::ProcessRef> agent;  // none: it is being started
    bool cancelled = false;
    Duration since{0};
    Duration deadline{0};  // when even its agent must have ended
  };
  void begin(const Key& key, const Command& command);
  void watch();
  void look();
  void end(const Key& key, const CommandEnd& end);
  host::Path folder(const Key& key) const { return place_.folder(key.first) / "commands" / key.second; }

  host::Loop& loop_;
  Place place_;
  std::map<Key, Running> running_;
  host::TimerId timer_ = 0;
};

// Ends the agents of a machine that is about to be removed, so that nothing is written to its folder any more.
void end_agents(const host::Path& machine_folder);

}  // namespace kiln::machine
