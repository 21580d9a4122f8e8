// Secret: values sealed with AES-256-GCM (NIST SP 800-38D), so that the journal does not show them.
//
// A sealed value is 12 bytes of nonce, 16 of tag, and the ciphertext. `context` (the parameter's name) is
// authenticated: what was sealed for one is not opened for another.
#pragma once

#include <string>
#include <string_view>

#include "host/random.h"

namespace kiln::region::ssm {

inline constexpr std::size_t kKeyBytes = 32;

std::string seal(const std::string& key, std::string_view context, std::string_view plain, host::Random& random);
// Throws Error(corrupt) when it is not what was sealed with that key for that context.
std::string unseal(const std::string& key, std::string_view context, std::string_view sealed);

}  // namespace kiln::region::ssm
