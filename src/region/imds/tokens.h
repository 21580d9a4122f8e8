// Tokens: session tokens of the metadata service's version 2.
//
// A token says when it ends and is signed for one instance, so none is kept: any number of them, from any number of
// instances, takes no memory, and they hold after a restart with the same secret.
#pragma once

#include <optional>
#include <string>

#include "base/time.h"

namespace kiln::region::imds {

inline constexpr std::int64_t kTokenSecondsMax = 21'600;  // six hours, as EC2's

class Tokens {
 public:
  explicit Tokens(std::string secret) : secret_(std::move(secret)) {}
  std::string make(const std::string& instance, Time expires) const;
  // When it ends; nullopt for one that is not this instance's, was altered, or has ended.
  std::optional<Time> check(const std::string& token, const std::string& instance, Time now) const;

 private:
  std::string signature(const std::string& instance, const std::string& expires) const;
  std::string secret_;
};

}  // namespace kiln::region::imds
