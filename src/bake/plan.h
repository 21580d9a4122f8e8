// Plan: the layers of an image and what each depends on. Reads the inputs, makes nothing. Private to this room.
//
// A layer depends on the layers below it and on its own inputs, with two exceptions that make the common change (a
// page, a configuration file) cheap:
//   - a copy is built from its inputs alone and only asks the layers below for folders and links that are there, so it
//   runs nothing;
//   - `enable` reads and writes units only, so it does not depend on a copy that puts nothing where units are. Both
//   orders of such
//     a pair give the same image: `enable` is built as if the copy were not there, and laid on top of it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bake/inputs.h"
#include "base/digest.h"
#include "spec/app.h"

namespace kiln::bake {

// Part of every key: raised whenever the same step would give other bytes than before.
inline constexpr int kLayerFormat = 1;

struct PlannedLayer {
  const spec::Step* step = nullptr;  // none: the base
  std::string text;                  // for people, and in the image's history
  std::vector<std::size_t> below;    // indices of the layers that it depends on, lowest first
  std::vector<InputEntry> inputs;    // of a copy
  Digest recipe;                     // of the step and its inputs, without what is below
};

// The base first, then a layer a step. `app` must outlive the plan.
std::vector<PlannedLayer> plan_layers(const spec::App& app, const host::Path& app_folder);

// The name of the layer in the cache: what it is made of, and the contents of the layers that it depends on.
Digest layer_key(const PlannedLayer& layer, const std::vector<Digest>& contents_below);

// Of the whole: base, steps, inputs, writable folders.
Digest recipe_digest(const spec::App& app, const std::vector<PlannedLayer>& plan);

// Throws Error(unsupported) for another base.
const std::string& debian_release(const spec::App& app);

// What the base has beside Debian's essential packages and apt: enough to boot, to have a network and to reach HTTPS
// mirrors.
const std::vector<std::string>& base_packages();

}  // namespace kiln::bake
