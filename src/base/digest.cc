// Digest: SHA-256 and HMAC by OpenSSL's libcrypto.
#include "base/digest.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/encoding.h"
#include "base/error.h"

namespace kiln {
namespace {

constexpr std::string_view kPrefix = "sha256:";

std::string_view view(const Digest::Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

Digest Digest::parse(std::string_view text) {
  bool well_formed = text.size() == kPrefix.size() + 64 && text.starts_with(kPrefix);
  for (std::size_t i = kPrefix.size(); well_formed && i < text.size(); ++i) {
    well_formed = (text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f');
  }
  if (!well_formed) {
    throw Error(ErrorCode::invalid, "not a digest: '" + std::string(text.substr(0, 100)) + "'",
                "A digest is 'sha256:' and 64 lowercase hex digits.");
  }
  std::string raw = hex_decode(text.substr(kPrefix.size()));
  Bytes bytes;
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(raw[i]);
  return Digest(bytes);
}

std::string Digest::hex() const { return hex_encode(view(bytes_)); }
std::string Digest::str() const { return std::string(kPrefix) + hex(); }
std::string Digest::short_str() const { return hex().substr(0, 12); }

struct Sha256::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(context); }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  KILN_ASSERT(state_->context != nullptr && EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr) == 1,
              "libcrypto has SHA-256");
}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::update(std::string_view bytes) { EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()); }

Digest Sha256::finish() {
  Digest::Bytes bytes{};
  unsigned size = 0;
  EVP_DigestFinal_ex(state_->context, bytes.data(), &size);
  KILN_ASSERT(size == bytes.size(), "a SHA-256 has 32 bytes");
  return Digest(bytes);
}

Digest sha256(std::string_view bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

Digest::Bytes hmac_sha256(std::string_view key, std::string_view message) {
  Digest::Bytes out{};
  unsigned size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(message.data()),
       message.size(), out.data(), &size);
  KILN_ASSERT(size == out.size(), "an HMAC-SHA256 has 32 bytes");
  return out;
}

}  // namespace kiln
