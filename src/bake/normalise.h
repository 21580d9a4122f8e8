// Normalise: takes out of a layer's tree what another bake of the same recipe would have otherwise. Private to this
// room.
#pragma once

#include "base/time.h"
#include "host/file.h"

namespace kiln::bake {

// `tree` is a layer as a step left it (the base's root, or an overlay's upper folder); `started` is when the step
// began.
//   - what package tools note for themselves goes: logs, caches, backups, lists, random seeds;
//   - what must be a machine's own goes: the machine id, ssh host keys (made at the first start of sshd instead);
//   - what was written during the step gets the fixed time; older times came with packages and stay;
//   - overlayfs's own notes go, but for "opaque".
void normalise(const host::Path& tree, Time started);

}  // namespace kiln::bake
