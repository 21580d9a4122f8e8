// Keyring: key ids that encode an account, and root keys that are derived.
#include "region/iam/keyring.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <string_view>

#include "base/digest.h"
#include "base/encoding.h"
#include "base/error.h"
#include "base/text.h"

namespace kiln::region::iam {
namespace {

constexpr std::string_view kBase32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
constexpr std::size_t kPrefix = 4;
constexpr std::size_t kDigits = 16;

std::string_view as_text(const Digest::Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

bool is_account(const std::string& text) {
  return text.size() == 12 && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

Principal root_of(const std::string& account) {
  return {account, "arn:aws:iam::" + account + ":root", account, "", false};
}

// Of the 80 bits the first is set, 40 are the account, 39 are free.
std::string access_key_id(const std::string& prefix, const std::string& account, std::uint64_t chance) {
  KILN_ASSERT(is_account(account), "an account has 12 digits");
  const auto number = static_cast<std::uint64_t>(*parse_int(account));
  const std::uint64_t high = (std::uint64_t{1} << 40) | number;       // 41 bits
  const std::uint64_t low = chance & ((std::uint64_t{1} << 39) - 1);  // 39 bits
  std::string out = prefix;
  for (std::size_t i = 0; i < kDigits; ++i) {
    const std::size_t from_end = 5 * (kDigits - 1 - i);  // of this digit's lowest bit
    std::uint64_t digit = 0;
    for (std::size_t bit = 0; bit < 5; ++bit) {
      const std::size_t at = from_end + bit;
      digit |= (at < 39 ? low >> at & 1 : high >> (at - 39) & 1) << bit;
    }
    out += kBase32[digit];
  }
  return out;
}

std::optional<std::string> account_of(const std::string& access_key) {
  if (access_key.size() != kPrefix + kDigits) return std::nullopt;
  std::uint64_t high = 0;  // the first 45 bits
  for (std::size_t i = kPrefix; i < access_key.size(); ++i) {
    const std::size_t digit = kBase32.find(access_key[i]);
    if (digit == std::string_view::npos) return std::nullopt;
    if (i < kPrefix + 9) high = high << 5 | digit;
  }
  const std::uint64_t number = high >> 4 & ((std::uint64_t{1} << 40) - 1);
  if (number > 999'999'999'999) return std::nullopt;
  return fmt::format("{:012}", number);
}

wire::Credentials root_credentials(const std::string& seed, const std::string& account) {
  const Digest::Bytes name = hmac_sha256(seed, "root access key of " + account);
  const Digest::Bytes secret = hmac_sha256(seed, "root secret of " + account);
  std::uint64_t chance = 0;
  for (std::size_t i = 0; i < 8; ++i) chance = chance << 8 | name[i];
  // 30 bytes are the 40 letters of AWS's secrets.
  return {access_key_id("AKIA", account, chance), base64_encode(as_text(secret).substr(0, 30)), ""};
}

void Keyring::put(const std::string& access_key, Key key) {
  std::unique_lock lock(mutex_);
  keys_[access_key] = std::move(key);
}

void Keyring::erase(const std::string& access_key) {
  std::unique_lock lock(mutex_);
  keys_.erase(access_key);
}

std::optional<Key> Keyring::find(const std::string& access_key) const {
  {
    std::shared_lock lock(mutex_);
    if (auto it = keys_.find(access_key); it != keys_.end()) return it->second;
  }
  const auto account = seed_.empty() ? std::nullopt : account_of(access_key);
  if (!account) return std::nullopt;
  wire::Credentials root = root_credentials(seed_, *account);
  if (root.access_key != access_key) return std::nullopt;
  return Key{{root.secret_key, "", std::nullopt}, root_of(*account)};
}

}  // namespace kiln::region::iam
