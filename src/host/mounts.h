// Mounts of our own: a mount namespace that nothing spreads from, and that ends with whoever has it, however that ends.
#pragma once

#include <functional>

namespace kiln::host {

// Gives the calling thread one. What the host unmounts meanwhile goes here too, so that nobody's disk is kept busy.
// Throws Error(denied) without root, Error(io).
void make_mounts_private();

// Runs `body` in a thread that has one; an exception climbs to the caller. Throws as make_mounts_private.
void with_private_mounts(const std::function<void()>& body);

}  // namespace kiln::host
