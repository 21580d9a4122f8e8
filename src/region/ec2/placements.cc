// Placements: AMIs in the store.
#include "region/ec2/placements.h"

#include <fmt/format.h>

#include "base/error.h"
#include "region/api_error.h"

namespace kiln::region::ec2 {

store::Image StorePlacements::resolve(const std::string& location) const {
  constexpr std::string_view kScheme = "kiln:";
  if (!location.starts_with(kScheme)) {
    throw ApiError(
        "InvalidParameterValue",
        fmt::format("Value ({}) for parameter ImageLocation is invalid. This region reads kiln:sha256:<digest>",
                    location.substr(0, 200)));
  }
  try {
    store::Image found = store_.image(Digest::parse(location.substr(kScheme.size())));
    store_.verify(found);
    return found;
  } catch (const Error& error) {
    throw ApiError("InvalidParameterValue",
                   fmt::format("The image at {} cannot be used: {}{}{}", location.substr(0, 200), error.what(),
                               error.next().empty() ? "" : ". ", error.next()));
  }
}

store::Image StorePlacements::image(const Digest& digest) const { return store_.image(digest); }

}  // namespace kiln::region::ec2
