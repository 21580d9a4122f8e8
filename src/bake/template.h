// Template: a text in which every `{{ name }}` is a variable. Private to this room.
//
// That is all of it: no conditions, no loops, no functions. `{{ "text" }}` is the text itself, for a file that needs
// the braces: `{{ "{{" }}`. Nothing is quoted for the file's own language.
#pragma once

#include <string>

#include "spec/recipe.h"

namespace kiln::bake {

// The first variable of a name counts. Throws Error(usage) that quotes the place in `source`: a name that there is not
// (with the nearest), braces that do not close, anything but a name.
std::string render_template(const spec::Source& source, const spec::Variables& variables);

}  // namespace kiln::bake
