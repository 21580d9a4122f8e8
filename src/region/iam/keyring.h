// Keyring: the keys that sign calls, of all accounts: those of users, temporary ones, and the root keys that every
// account has without being created.
//
// An access key id encodes its account, as AWS's do. A root key is derived from a seed with HMAC-SHA256, so nothing has
// to be kept for an account that nobody has used. Safe to use from several threads: written on the loop, read by
// whoever checks signatures.
#pragma once

#include <map>
#include <optional>
#include <shared_mutex>
#include <string>

#include "region/principal.h"
#include "wire/sigv4.h"

namespace kiln::region::iam {

struct Key {
  wire::Secret secret;
  Principal principal;
};

// Its account's root user.
Principal root_of(const std::string& account);
// A key id of that account: prefix ("AKIA", "ASIA") and 16 letters of Base32, of which `chance` gives 39 bits.
std::string access_key_id(const std::string& prefix, const std::string& account, std::uint64_t chance);
// The account that an access key id encodes; nullopt when it encodes none.
std::optional<std::string> account_of(const std::string& access_key);
// The root key of an account. `account` has 12 digits.
wire::Credentials root_credentials(const std::string& seed, const std::string& account);
// Whether it is 12 digits.
bool is_account(const std::string& text);

class Keyring {
 public:
  // An empty seed derives no root keys.
  explicit Keyring(std::string seed = {}) : seed_(std::move(seed)) {}

  void put(const std::string& access_key, Key key);
  void erase(const std::string& access_key);
  std::optional<Key> find(const std::string& access_key) const;

 private:
  std::string seed_;
  mutable std::shared_mutex mutex_;
  std::map<std::string, Key> keys_;
};

}  // namespace kiln::region::iam
