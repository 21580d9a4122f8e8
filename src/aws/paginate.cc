// Paginate: what pages may not do.
#include "aws/paginate.h"

#include <fmt/format.h>

namespace kiln::aws {

void refuse_endless_pages(const char* why) {
  throw Error(ErrorCode::invalid, fmt::format("a list has no end: the service {}", why));
}

}  // namespace kiln::aws
