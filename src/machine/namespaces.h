// Namespaces: named network namespaces (as `ip netns` makes them), and doing things inside one without leaving our own.
//
// A thread of its own enters the namespace; the caller's thread never does. A socket stays in the namespace it was made
// in, so a probe or a proxy can use it from any thread.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "host/file.h"

namespace kiln::machine {

host::Path namespace_path(const std::string& name);  // /run/netns/<name>
bool namespace_exists(const std::string& name);
// Makes it, with its loopback device up; one that is there already is kept. Throws Error(denied) without root.
void make_namespace(const std::string& name);
// Removes the name; the namespace goes with the last process and socket in it. None there is fine.
void remove_namespace(const std::string& name);
// When no name is left: undoes what `make_namespace` has done to /run/netns itself, if it was us.
void unshare_namespaces();
std::vector<std::string> namespaces_with_prefix(const std::string& prefix);

// Runs `body` on a thread inside the namespace and waits for it; an exception climbs to the caller. Programs that
// `body` starts run in the namespace.
void run_in_namespace(const host::Path& path, const std::function<void()>& body);
// The same inside a process's mounts, with its root as ours: what `body` names is looked up there, links too.
void run_in_mounts_of(pid_t process, const std::function<void()>& body);

}  // namespace kiln::machine
