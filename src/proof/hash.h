// Hash: the digests that package formats ask for beside SHA-256, in pieces. Private to this room.
#pragma once

#include <openssl/evp.h>

#include <array>
#include <memory>
#include <string>
#include <string_view>

#include "base/encoding.h"
#include "base/error.h"

namespace kiln::proof {

class Hash {
 public:
  explicit Hash(const EVP_MD* kind) : context_(EVP_MD_CTX_new(), &EVP_MD_CTX_free) {
    KILN_ASSERT(context_ && EVP_DigestInit_ex(context_.get(), kind, nullptr) == 1,
                "OpenSSL has MD5, SHA-1 and SHA-256");
  }
  void update(std::string_view bytes) { EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()); }
  std::string hex() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
    unsigned size = 0;
    EVP_DigestFinal_ex(context_.get(), bytes.data(), &size);
    return hex_encode({reinterpret_cast<char*>(bytes.data()), size});
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

}  // namespace kiln::proof
