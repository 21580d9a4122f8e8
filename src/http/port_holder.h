// PortHolder: which process listens on a port of this machine.
#pragma once

#include <cstdint>
#include <string>

namespace kiln::http {

// "haproxy (pid 1234)", or empty when /proc does not show it (another user's process, another namespace).
std::string port_holder(std::uint16_t port);

}  // namespace kiln::http
