// ImageTest's part of the table of keys, and its reader.
#pragma once

#include "spec/image_test.h"
#include "spec/shape.h"
#include "spec/tree.h"

namespace kiln::spec {

const Shape& image_test_shape();
// `node` is of that shape. Throws Error(usage) for what the shape does not see: a regular expression that is none.
ImageTest read_image_test(const Source& source, const Node& node);

}  // namespace kiln::spec
