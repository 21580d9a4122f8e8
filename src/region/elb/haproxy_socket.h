// HAProxy socket: asks HAProxy's admin or master socket one thing and reads the whole answer.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "host/file.h"

namespace kiln::region::elb {

// One connection, one line (several commands may be joined by ';'), until HAProxy closes. Blocks; never on the loop.
// Throws Error(unavailable) when nobody answers there, Error(timeout), Error(io) on an answer over 64 MiB.
std::string ask_haproxy(const host::Path& socket, std::string_view command, Duration timeout = Duration(3'000));
// Runs runtime commands in as few connections as HAProxy's command buffer allows. Throws Error(conflict) quoting the
// first command that HAProxy refused.
void tell_haproxy(const host::Path& socket, const std::vector<std::string>& commands);
// Replaces a map's whole content in one step.
void replace_map(const host::Path& socket, const host::Path& map, std::string_view content);

}  // namespace kiln::region::elb
