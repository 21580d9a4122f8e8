// Tokens: eight bytes of when it ends, and an HMAC over them and the instance; 56 characters in Base64, as EC2's have.
#include "region/imds/tokens.h"

#include <openssl/crypto.h>

#include <cstring>

#include "base/digest.h"
#include "base/encoding.h"
#include "base/error.h"

namespace kiln::region::imds {
namespace {

constexpr std::size_t kTimeBytes = sizeof(std::int64_t);

}  // namespace

std::string Tokens::signature(const std::string& instance, const std::string& expires) const {
  const Digest::Bytes bytes = hmac_sha256(secret_, instance + "/" + expires);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string Tokens::make(const std::string& instance, Time expires) const {
  const std::int64_t ms = expires.time_since_epoch().count();
  std::string bytes(kTimeBytes, '\0');
  std::memcpy(bytes.data(), &ms, kTimeBytes);
  return base64_encode(bytes + signature(instance, bytes));
}

std::optional<Time> Tokens::check(const std::string& token, const std::string& instance, Time now) const {
  std::string bytes;
  try {
    bytes = base64_decode(token);
  } catch (const Error&) {
    return std::nullopt;
  }
  if (bytes.size() < kTimeBytes) return std::nullopt;
  const std::string expires = bytes.substr(0, kTimeBytes);
  const std::string wanted = signature(instance, expires);
  if (bytes.size() != kTimeBytes + wanted.size() ||
      CRYPTO_memcmp(bytes.data() + kTimeBytes, wanted.data(), wanted.size()) != 0) {
    return std::nullopt;
  }
  std::int64_t ms = 0;
  std::memcpy(&ms, expires.data(), kTimeBytes);
  const Time ends{Duration(ms)};
  return ends > now ? std::optional<Time>(ends) : std::nullopt;
}

}  // namespace kiln::region::imds
