// Ids of IAM's things.
#include "region/iam/ids.h"

#include <string_view>

#include "base/digest.h"
#include "base/encoding.h"

namespace kiln::region::iam {
namespace {

constexpr std::string_view kBase32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
constexpr std::size_t kLetters = 17;

}  // namespace

std::string random_id(const std::string& prefix, host::Random& random) {
  std::string id = prefix;
  for (std::size_t i = 0; i < kLetters; ++i) id += kBase32[random.below(kBase32.size())];
  return id;
}

std::string fixed_id(const std::string& prefix, const std::string& what) {
  const Digest::Bytes bytes = sha256(what).bytes();
  std::string id = prefix;
  for (std::size_t i = 0; i < kLetters; ++i) id += kBase32[bytes[i] % kBase32.size()];
  return id;
}

std::string random_secret(std::size_t bytes, host::Random& random) {
  return base64_encode(hex_decode(random.hex(2 * bytes)));
}

}  // namespace kiln::region::iam
