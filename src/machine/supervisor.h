// Supervisor: a tiny process beside each machine, which outlives the control plane. It keeps the console's tail, starts
// the machine again when it reboots itself, and writes down how it ended.
//
// Its folder (the machine's) holds `status` and `console.log`. Signals: SIGTERM shuts the machine down, SIGUSR1 reboots
// it, SIGUSR2 ends it at once and starts it again, SIGKILL ends both at once.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "host/file.h"
#include "host/process.h"

namespace kiln::machine {

// The hidden command of the kiln program: `kiln machine-supervisor FOLDER NAME PROGRAM ARG...`
inline constexpr const char* kSupervisorCommand = "machine-supervisor";
// argv[0] is kSupervisorCommand. Returns the exit status.
int supervisor_main(int argc, char** argv);

struct SupervisorStatus {
  host::ProcessRef supervisor;
  int boot = 0;           // 1 for the first, one more for each reboot
  host::ProcessRef init;  // as the host sees it; its pid is 0 until init has been started
  std::string ended;      // how it ended ("powered off"), empty while it lives
  bool failed = false;    // it ended before init was started
};

std::string render(const SupervisorStatus& status);
std::optional<SupervisorStatus> parse_status(std::string_view text);
std::optional<SupervisorStatus> read_status(const host::Path& folder);

inline constexpr std::size_t kConsoleKept = 64 * 1024;            // bytes; what EC2's GetConsoleOutput keeps
inline constexpr std::size_t kConsoleFileMax = 4 * kConsoleKept;  // then the file is cut to the last kConsoleKept

}  // namespace kiln::machine
