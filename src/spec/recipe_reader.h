// RecipeReader: `image:` of kiln.yaml, from checked nodes to a recipe. Private to this room.
#pragma once

#include "spec/recipe.h"
#include "spec/tree.h"

namespace kiln::spec {

// Everything but `version` and `test`. Throws Error(usage) for what the table of keys cannot see: names that nobody
// has, orders that go round.
ImageSpec read_recipe(const Source& source, const Node& image);

}  // namespace kiln::spec
