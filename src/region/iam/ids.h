// Ids of IAM's things: a prefix that says what it is, and 17 letters of Base32.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids
#pragma once

#include <string>

#include "host/random.h"

namespace kiln::region::iam {

std::string random_id(const std::string& prefix, host::Random& random);
// The same whenever it is asked for: of what nobody creates.
std::string fixed_id(const std::string& prefix, const std::string& what);
// That many random bytes in Base64.
std::string random_secret(std::size_t bytes, host::Random& random);

}  // namespace kiln::region::iam
