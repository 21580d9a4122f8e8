// Attach: artifacts of the store, by the names that cosign knows.
#include "proof/attach.h"

#include <algorithm>
#include <vector>

#include "base/encoding.h"
#include "proof/json.h"
#include "proof/provenance.h"

namespace kiln::proof {
namespace {

std::string annotation(const std::map<std::string, std::string>& annotations, std::string_view name) {
  const auto found = annotations.find(std::string(name));
  return found == annotations.end() ? std::string() : found->second;
}

bool is_for(const store::Artifact& artifact, const SbomSubject& subject, std::string_view type) {
  return artifact.artifact_type == type && annotation(artifact.annotations, kVersionAnnotation) == subject.version;
}

// The statement that stands for a document in an attestation, and its predicate's type.
struct Attested {
  std::string statement;
  std::string predicate_type;
};

std::vector<Attested> statements_of(const store::Store& store, const SbomSubject& subject) {
  std::vector<Attested> all;
  const std::string name = subject.app + "@" + subject.version;
  if (const auto text = find_document(store, subject, kStatementType))
    all.push_back({*text, read_statement(*text).predicate_type});
  if (const auto text = find_document(store, subject, kSpdxType))
    all.push_back({write_statement(name, subject.digest, kSpdxPredicate, *text), std::string(kSpdxPredicate)});
  if (const auto text = find_document(store, subject, kCycloneDxType))
    all.push_back(
        {write_statement(name, subject.digest, kCycloneDxPredicate, *text), std::string(kCycloneDxPredicate)});
  return all;
}

// The image's signature is checked; an attestation is taken by its note, because reading megabytes at each bake is not
// worth more: `verify` checks it.
bool signed_before(const store::Store& store, const SbomSubject& subject, const PublicKey& key) {
  bool signature = false;
  std::size_t documents = 0, attested = 0;
  for (const store::Artifact& artifact : store.artifacts_of(subject.digest)) {
    if (annotation(artifact.annotations, kVersionAnnotation) != subject.version) continue;
    if (artifact.artifact_type == kSignatureType) {
      const std::string sig = annotation(artifact.blobs.front().annotations, kSignatureAnnotation);
      signature |= key.verify(store.read(artifact.blobs.front().digest), base64_decode(sig));
    } else if (artifact.artifact_type == kEnvelopeType) {
      if (annotation(artifact.annotations, kKeyAnnotation) == key.id().str())
        attested = std::max(attested, artifact.blobs.size());
    } else {
      ++documents;
    }
  }
  return signature && attested >= documents;
}

}  // namespace

Digest attach(store::Store& store, const SbomSubject& subject, std::string_view artifact_type, std::string_view text) {
  const store::Blob blob{store.put(text), text.size(), std::string(artifact_type)};
  std::map<std::string, std::string> annotations = {{std::string(kVersionAnnotation), subject.version}};
  if (artifact_type == kStatementType) annotations["in-toto.io/predicate-type"] = read_statement(text).predicate_type;
  return store.add_artifact(subject.digest, std::string(artifact_type), {blob}, annotations);
}

std::optional<std::string> find_document(const store::Store& store, const SbomSubject& subject,
                                         std::string_view artifact_type) {
  for (const store::Artifact& artifact : store.artifacts_of(subject.digest)) {
    if (is_for(artifact, subject, artifact_type)) return store.read(artifact.blobs.front().digest);
  }
  return std::nullopt;
}

std::string signing_payload(const SbomSubject& subject) {
  return to_text({{"critical",
                   {{"identity", {{"docker-reference", subject.app}}},
                    {"image", {{"docker-manifest-digest", subject.digest.str()}}},
                    {"type", "cosign container image signature"}}},
                  {"optional", {{"version", subject.version}}}});
}

std::optional<Digest> sign_image(store::Store& store, const SbomSubject& subject, const SigningKey& key) {
  if (signed_before(store, subject, key.public_key())) return std::nullopt;
  const std::map<std::string, std::string> annotations = {{std::string(kVersionAnnotation), subject.version},
                                                          {std::string(kKeyAnnotation), key.public_key().id().str()}};
  std::vector<store::Blob> envelopes;
  for (const Attested& one : statements_of(store, subject)) {
    const std::string text = write_envelope(sign_envelope(std::string(kStatementType), one.statement, key));
    envelopes.push_back({store.put(text),
                         text.size(),
                         std::string(kEnvelopeType),
                         {{"predicateType", one.predicate_type}, {std::string(kSignatureAnnotation), ""}}});
  }
  if (!envelopes.empty()) store.add_artifact(subject.digest, std::string(kEnvelopeType), envelopes, annotations);
  const std::string payload = signing_payload(subject);
  const store::Blob blob{store.put(payload),
                         payload.size(),
                         std::string(kPayloadType),
                         {{std::string(kSignatureAnnotation), base64_encode(key.sign(payload))}}};
  return store.add_artifact(subject.digest, std::string(kSignatureType), {blob}, annotations);
}

}  // namespace kiln::proof
