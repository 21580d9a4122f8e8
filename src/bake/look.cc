// Look: one loop mount.
#include "bake/look.h"

#include <unistd.h>

#include "bake/sandbox.h"
#include "base/error.h"
#include "host/process.h"

namespace kiln::bake {

void look_into_layer(const host::Path& layer, const host::Path& work,
                     const std::function<void(const host::Path&)>& look) {
  if (::geteuid() != 0)
    throw Error(ErrorCode::denied, "reading what is in an image needs root: its layers are mounted",
                "run it again with sudo");
  check_kernel();
  with_private_mounts([&] {
    const host::Path at = work / "layer";
    host::make_folders(at);
    host::run_checked({"mount", "-t", "erofs", "-o", "loop,ro", layer.string(), at.string()});
    look(at);
  });
}

}  // namespace kiln::bake
