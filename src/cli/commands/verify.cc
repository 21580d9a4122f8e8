// kiln verify: whether an image is what it says it is.
#include "proof/verify.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/encoding.h"
#include "base/error.h"
#include "catalog/catalog.h"
#include "cli/command.h"
#include "cli/parser.h"
#include "cli/proofs.h"

namespace kiln::cli {
namespace {

proof::Expected expected_of(const catalog::Image& image) {
  proof::Expected expected{subject_of(image), image.commit, {}, {}};
  for (const std::string& key : image.signed_by) {
    const Digest id = Digest::parse(key);
    if (std::ranges::find(expected.signed_by, id) == expected.signed_by.end()) expected.signed_by.push_back(id);
  }
  if (!image.tests.empty()) expected.tests_passed = image.tests.back().passed;
  return expected;
}

// What others check with their own tools: each envelope, what is signed in it, and the image's signature.
void export_to(const host::Path& folder, const store::Store& store, const proof::SbomSubject& subject) {
  host::make_folders(folder);
  int signatures = 0, envelopes = 0;
  for (const store::Artifact& artifact : store.artifacts_of(subject.digest)) {
    for (const store::Blob& blob : artifact.blobs) {
      const std::string text = store.read(blob.digest);
      if (artifact.artifact_type == proof::kEnvelopeType) {
        const proof::Envelope envelope = proof::read_envelope(text);
        const std::string name = fmt::format("attestation-{}", ++envelopes);
        host::write_file(folder / (name + ".dsse.json"), text);
        host::write_file(folder / (name + ".pae"), proof::pae(envelope.payload_type, envelope.payload));
        host::write_file(folder / (name + ".sig"), envelope.signatures.front().bytes);
      } else if (artifact.artifact_type == proof::kSignatureType) {
        const std::string name = fmt::format("signature-{}", ++signatures);
        const auto found = blob.annotations.find(std::string(proof::kSignatureAnnotation));
        const std::string signature = found == blob.annotations.end() ? "" : found->second;
        host::write_file(folder / (name + ".payload.json"), text);
        host::write_file(folder / (name + ".sig.base64"), signature);
        host::write_file(folder / (name + ".sig"), base64_decode(signature));
      } else if (artifact.artifact_type == proof::kStatementType) {
        host::write_file(folder / "provenance.json", text);
      } else if (artifact.artifact_type == proof::kSpdxType) {
        host::write_file(folder / "sbom.spdx.json", text);
      } else if (artifact.artifact_type == proof::kCycloneDxType) {
        host::write_file(folder / "sbom.cdx.json", text);
      }
    }
  }
  host::write_file(folder / "manifest.json", store.read(subject.digest));
}

}  // namespace

int run_verify(Context& context, const std::vector<std::string>& words) {
  Parser parser;
  std::string reference, key_file, policy_file, folder;
  bool json = false;
  parser.option("image", reference).required();
  parser.option("--key", key_file);
  parser.option("--policy", policy_file);
  parser.option("--export", folder);
  parser.flag("--json", json);
  if (!parser.parse("verify", words)) return 0;

  proof::Trust trust{trusted_keys(context, key_file), nullptr, {}};
  std::optional<spec::Policy> policy;
  if (!policy_file.empty()) {
    policy = spec::parse_policy(read_named_file(policy_file), policy_file);
    trust.policy = &*policy;
    for (const std::string& name : policy->signed_by)
      trust.required.push_back(read_public_key(host::Path(policy_file).parent_path() / name));
  }
  const catalog::Image image = find_image(context, reference);
  const store::Store store(context.store_folder());
  const proof::Expected expected = expected_of(image);
  const std::vector<proof::Check> checks = proof::verify(store, expected, trust, context.clock.now());
  if (!folder.empty()) export_to(folder, store, expected.subject);
  return report_checks(image.name(), image.digest, checks, json);
}

}  // namespace kiln::cli
