// Secret: see secret.h.
#include "region/ssm/secret.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <memory>

#include "base/encoding.h"
#include "base/error.h"

namespace kiln::region::ssm {
namespace {

constexpr std::size_t kNonceBytes = 12;
constexpr std::size_t kTagBytes = 16;

using Cipher = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;
Cipher new_cipher() { return {EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free}; }

const unsigned char* bytes(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }
unsigned char* bytes(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }
int size(std::string_view text) { return static_cast<int>(text.size()); }

}  // namespace

std::string seal(const std::string& key, std::string_view context, std::string_view plain, host::Random& random) {
  KILN_ASSERT(key.size() == kKeyBytes, "the key has 32 bytes");
  std::string nonce = hex_decode(random.hex(2 * kNonceBytes));
  std::string out(plain.size(), '\0');
  std::string tag(kTagBytes, '\0');
  const Cipher cipher = new_cipher();
  int done = 0;
  const bool good = EVP_EncryptInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr, bytes(std::string_view(key)),
                                       bytes(std::string_view(nonce))) == 1 &&
                    EVP_EncryptUpdate(cipher.get(), nullptr, &done, bytes(context), size(context)) == 1 &&
                    EVP_EncryptUpdate(cipher.get(), bytes(out), &done, bytes(plain), size(plain)) == 1 &&
                    EVP_EncryptFinal_ex(cipher.get(), bytes(out) + done, &done) == 1 &&
                    EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_GCM_GET_TAG, kTagBytes, tag.data()) == 1;
  KILN_ASSERT(good, "AES-256-GCM seals any text");
  return nonce + tag + out;
}

std::string unseal(const std::string& key, std::string_view context, std::string_view sealed) {
  const auto refuse = [&] {
    return Error(ErrorCode::corrupt, fmt::format("the secret value of {} cannot be opened", context),
                 "The key beside the region's journal must be the one that it was sealed with.");
  };
  if (key.size() != kKeyBytes || sealed.size() < kNonceBytes + kTagBytes) throw refuse();
  const std::string_view nonce = sealed.substr(0, kNonceBytes);
  std::string tag(sealed.substr(kNonceBytes, kTagBytes));
  const std::string_view text = sealed.substr(kNonceBytes + kTagBytes);
  std::string out(text.size(), '\0');
  const Cipher cipher = new_cipher();
  int done = 0;
  const bool good =
      EVP_DecryptInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr, bytes(std::string_view(key)), bytes(nonce)) == 1 &&
      EVP_DecryptUpdate(cipher.get(), nullptr, &done, bytes(context), size(context)) == 1 &&
      EVP_DecryptUpdate(cipher.get(), bytes(out), &done, bytes(text), size(text)) == 1 &&
      EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_GCM_SET_TAG, kTagBytes, tag.data()) == 1 &&
      EVP_DecryptFinal_ex(cipher.get(), bytes(out) + done, &done) == 1;
  if (!good) throw refuse();
  return out;
}

}  // namespace kiln::region::ssm
