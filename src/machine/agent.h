// Agent: a tiny process beside each command that runs in a machine, which outlives the control plane. It asks the
// machine's init to run the command, keeps the first of what it writes, ends it when its time is over, and writes down
// how it ended.
//
// The machine is not trusted. Of it the agent touches one thing, the socket of its init, found without following any
// link and used only when it is init that listens there; every wait has an end, and what the command writes comes
// through pipes of ours and is read slowly once enough is kept. An init that hangs or floods holds up this process and
// no other.
//
// Its folder is `<machine's folder>/commands/<id>`: `command` (what is to be done), `agent` (which process does it),
// `asked` (init may have begun it), `end`. SIGTERM cancels the command.
#pragma once

#include <string>

#include "host/file.h"
#include "machine/machine.h"

namespace kiln::machine {

// The hidden command of the kiln program: `kiln machine-agent MACHINE-FOLDER COMMAND-ID`
inline constexpr const char* kAgentCommand = "machine-agent";
// argv[0] is kAgentCommand. Returns the exit status.
int agent_main(int argc, char** argv);

std::string render_command(const Command& command);
Command parse_command(const std::string& text);  // throws Error(corrupt)
std::string render_end(const CommandEnd& end);
CommandEnd parse_end(const std::string& text);  // throws Error(corrupt)

}  // namespace kiln::machine
