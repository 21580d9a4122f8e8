// Digest: the SHA-256 of some bytes, which is their name in the store.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace kiln {

class Digest {
 public:
  using Bytes = std::array<std::uint8_t, 32>;

  Digest() = default;  // all zero: "no digest yet", tested with `empty()`
  explicit Digest(const Bytes& bytes) : bytes_(bytes) {}
  // "sha256:" and 64 lowercase hex digits; throws Error(invalid).
  static Digest parse(std::string_view text);

  const Bytes& bytes() const { return bytes_; }
  std::string hex() const;
  std::string str() const;        // "sha256:<hex>"
  std::string short_str() const;  // the first 12 hex digits, for people
  bool empty() const { return bytes_ == Bytes{}; }
  auto operator<=>(const Digest&) const = default;

 private:
  Bytes bytes_{};
};

Digest sha256(std::string_view bytes);
Digest::Bytes hmac_sha256(std::string_view key, std::string_view message);

// SHA-256 of bytes that come in pieces. `finish` may be called once.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  void update(std::string_view bytes);
  Digest finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kiln
