// Copy: the tree of a copy step's layer. Runs nothing. Private to this room.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bake/inputs.h"
#include "host/file.h"
#include "spec/app.h"

namespace kiln::bake {

// What the layers below have at a path of the image, links in its folders followed inside the image.
struct Existing {
  enum class Kind { folder, other };
  Kind kind = Kind::other;
  std::string real_path;  // without links: "/usr/lib/x" for "/lib/x"
  unsigned mode = 0755;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::int64_t seconds = 0;  // mtime
  std::int64_t nanoseconds = 0;
};

using Look = std::function<std::optional<Existing>(const std::string& path)>;

// Looks at a mounted root without ever leaving it.
Look look_into(const host::Path& root);

// The numbers of `copy`'s user and group by the image's own /etc/passwd and /etc/group, whose texts these are. Without
// a group: the user's own. Throws Error(usage) that quotes the step and names the nearest.
void resolve_owner(const spec::App& app, const spec::Step& step, const std::string& passwd, const std::string& group,
                   spec::CopyStep& copy);
// The text of a file of a mounted root, without ever leaving it; empty when there is none.
std::string read_inside(const host::Path& root, const std::string& path);

// Makes the layer in the empty folder `tree`. Folders that the image has keep their owner, mode and time; links to
// folders are followed, so that a file for /lib lands in /usr/lib. A file whose content is no more what was hashed is
// an Error(conflict).
void stage_copy(const spec::App& app, const spec::Step& step, const spec::CopyStep& copy,
                const std::vector<InputEntry>& inputs, const Look& look, const host::Path& tree);

}  // namespace kiln::bake
