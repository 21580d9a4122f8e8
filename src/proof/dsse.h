// Dsse: a payload with its type and signatures over both, as JSON.
//
// https://github.com/secure-systems-lab/dsse (protocol.md, envelope.md), version 1.0. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "proof/key.h"

namespace kiln::proof {

inline constexpr std::string_view kEnvelopeType = "application/vnd.dsse.envelope.v1+json";
inline constexpr std::string_view kStatementType = "application/vnd.in-toto+json";
inline constexpr std::size_t kEnvelopeBytesMax = std::size_t{64} << 20;

struct Envelope {
  struct Signature {
    std::string key_id;  // a hint that nobody signed: never a reason to trust
    std::string bytes;
    bool operator==(const Signature&) const = default;
  };
  std::string payload_type;
  std::string payload;
  std::vector<Signature> signatures;
  bool operator==(const Envelope&) const = default;

  // Whether one of the signatures is the key's, whatever its hint says.
  bool signed_by(const PublicKey& key) const;
};

// The bytes that are signed.
std::string pae(std::string_view payload_type, std::string_view payload);
Envelope sign_envelope(std::string payload_type, std::string payload, const SigningKey& key);
std::string write_envelope(const Envelope& envelope);
// Error(corrupt) for what is no envelope or has no signature.
Envelope read_envelope(std::string_view json);

}  // namespace kiln::proof
