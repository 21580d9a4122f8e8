// Plan: the layers of an image and what each depends on. Reads the inputs, makes nothing. Private to this room.
//
// A layer depends on the layers below it (all of them, or those that `after` names and what these need) and on its own
// inputs, with two exceptions that make the common change (a page, a configuration file) cheap:
//   - a copy is built from its inputs alone and only asks the layers below for folders and links that are there, so it
//     runs nothing;
//   - `enable` reads and writes units only, so it does not depend on a copy that puts nothing where units are. Both
//     orders of such a pair give the same image: `enable` is built as if the copy were not there, and laid on top of
//     it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bake/inputs.h"
#include "bake/lock_file.h"
#include "base/digest.h"
#include "spec/app.h"
#include "store/image.h"

namespace kiln::bake {

struct PlannedLayer {
  const spec::Step* step = nullptr;    // none: the base
  std::string text;                    // for people, and in the image's history
  std::vector<std::size_t> below;      // indices of the layers that it depends on, lowest first
  std::vector<InputEntry> inputs;      // of a copy
  Digest recipe;                       // of the step and its inputs, without what is below
  std::optional<store::Blob> given{};  // of a base that was made elsewhere: the layer itself
  // Layers further down that `after` keeps it apart from: the two may not write the same path.
  std::vector<std::size_t> beside{};
  // What the lock file says that it brings; none: there is no lock file, or it does not know the step.
  std::optional<Versions> locked{};
};

// The base first (a layer, or as many as `given` has), then a layer a step; steps on this machine are none. `app` must
// outlive the plan.
std::vector<PlannedLayer> plan_layers(const spec::App& app, const host::Path& app_folder,
                                      const std::vector<store::Blob>& given = {}, const LockFile* lock = nullptr);

// "debian:bookworm", "image base@1.4.2".
std::string base_text(const spec::App& app);
// Empty for another base.
std::string debian_release(const spec::App& app);

// What the base has beside Debian's essential packages and apt: enough to boot, to have a network and to reach HTTPS
// mirrors.
const std::vector<std::string>& base_packages();

}  // namespace kiln::bake
