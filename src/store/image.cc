// Image: what can be said of an image without reading it.
#include "store/image.h"

#include <numeric>

namespace kiln::store {

std::uint64_t Image::size_bytes() const {
  return std::accumulate(layers.begin(), layers.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const Blob& layer) { return sum + layer.size_bytes; });
}

}  // namespace kiln::store
