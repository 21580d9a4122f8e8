// Secrets: what an image must not hold, because every instance would have it: found in the image's own files, before
// anything ran. One table says what that is; it is looked for in mounted layers, or by a script on the disk itself.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "host/file.h"

namespace kiln::trial {

// One line a finding, at most 20: "/root/.ssh/authorized_keys: keys that may log in". `layers` are mounted trees, the
// topmost first, with overlayfs's marks for what is removed. `except` are absolute paths that may be there.
//
// Looked for: ssh host keys, authorized_keys, private keys (by their content, in files of up to 64 KiB of /etc, /home,
// /opt, /root, /srv, /usr/local and /var), shell histories, credentials of clouds and registries by their usual names,
// a machine id that is not empty.
std::vector<std::string> secrets_in(const std::vector<host::Path>& layers, const std::vector<std::string>& except = {});

// The same asked of a running machine before it becomes an image: a script for its /bin/sh, as root, which needs GNU
// find and grep. It says which files, never what is in them.
std::string secrets_question(const std::string& root = "/");
std::vector<std::string> read_secrets(std::string_view answer, const std::vector<std::string>& except = {});

}  // namespace kiln::trial
