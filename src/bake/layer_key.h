// LayerKey: how the name is made under which the cache has a layer. Private to this room.
//
// A key is a digest over all that could change the layer's bytes, and nothing else: the step, the content of its
// inputs, the versions that the lock file gives it, and the contents (not the keys) of the layers that it depends on.
// So a step that was made again and gave the same bytes leaves what stands on it alone.
#pragma once

#include <vector>

#include "bake/inputs.h"
#include "bake/plan.h"
#include "base/digest.h"
#include "host/file.h"
#include "spec/app.h"

namespace kiln::bake {

// Of the base, where Kiln makes it.
Digest base_recipe(const spec::App& app);
// Of a step and its inputs, without what is below. Reads the keys of the recipe's repositories.
Digest step_recipe(const spec::App& app, const host::Path& app_folder, const spec::Step& step,
                   const std::vector<InputEntry>& inputs);

// `contents_below`: of the layers that it depends on, lowest first.
Digest layer_key(const PlannedLayer& layer, const std::vector<Digest>& contents_below);

// Of the whole: base, steps, inputs, writable folders.
Digest recipe_digest(const spec::App& app, const std::vector<PlannedLayer>& plan);

}  // namespace kiln::bake
