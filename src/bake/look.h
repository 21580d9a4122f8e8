// Look: an image's layer as a folder, to read and not to change.
#pragma once

#include <functional>

#include "host/file.h"

namespace kiln::bake {

// Mounts the erofs file `layer` read-only below `work`, an empty folder that outlives the call, in a mount namespace of
// its own, and calls `look` with the folder in another thread while the caller waits. What the layer removes shows as
// overlayfs writes it: devices 0/0, attributes "trusted.overlay.opaque". Whatever happens, no mount stays. Throws
// Error(denied) without root, Error(unsupported) without erofs in the kernel, and what `look` throws.
void look_into_layer(const host::Path& layer, const host::Path& work,
                     const std::function<void(const host::Path&)>& look);

}  // namespace kiln::bake
