// Dsse: the encoding that is signed, and JSON both ways.
#include "proof/dsse.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/encoding.h"
#include "base/error.h"
#include "proof/json.h"

namespace kiln::proof {
namespace {

// Both alphabets are allowed, with and without padding.
std::string decode(std::string text) {
  std::ranges::replace(text, '-', '+');
  std::ranges::replace(text, '_', '/');
  while (text.size() % 4 != 0) text += '=';
  return base64_decode(text);
}

}  // namespace

bool Envelope::signed_by(const PublicKey& key) const {
  const std::string message = pae(payload_type, payload);
  return std::ranges::any_of(signatures, [&](const Signature& one) { return key.verify(message, one.bytes); });
}

std::string pae(std::string_view payload_type, std::string_view payload) {
  return fmt::format("DSSEv1 {} {} {} {}", payload_type.size(), payload_type, payload.size(), payload);
}

Envelope sign_envelope(std::string payload_type, std::string payload, const SigningKey& key) {
  Envelope envelope{std::move(payload_type), std::move(payload), {}};
  envelope.signatures.push_back({key.public_key().id().str(), key.sign(pae(envelope.payload_type, envelope.payload))});
  return envelope;
}

std::string write_envelope(const Envelope& envelope) {
  Json signatures = Json::array();
  for (const Envelope::Signature& one : envelope.signatures) {
    Json json{{"sig", base64_encode(one.bytes)}};
    if (!one.key_id.empty()) json["keyid"] = one.key_id;
    signatures.push_back(std::move(json));
  }
  return to_text({{"payloadType", envelope.payload_type},
                  {"payload", base64_encode(envelope.payload)},
                  {"signatures", std::move(signatures)}});
}

Envelope read_envelope(std::string_view text) {
  return reading_json("envelope", text, kEnvelopeBytesMax, [](const Json& json) {
    Envelope envelope{json.at("payloadType").get<std::string>(), decode(json.at("payload").get<std::string>()), {}};
    for (const Json& one : json.at("signatures")) {
      const Json id = one.value("keyid", Json());
      envelope.signatures.push_back(
          {id.is_null() ? "" : id.get<std::string>(), decode(one.at("sig").get<std::string>())});
    }
    if (envelope.signatures.empty()) throw Error(ErrorCode::corrupt, "envelope: it has no signature");
    return envelope;
  });
}

}  // namespace kiln::proof
