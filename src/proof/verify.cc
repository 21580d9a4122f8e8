// Verify: collect what the store says about an image, then ask each question of it.
#include "proof/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "base/encoding.h"
#include "base/error.h"
#include "base/text.h"
#include "proof/attach.h"
#include "proof/json.h"
#include "proof/provenance.h"

namespace kiln::proof {
namespace {

// A document about the image: as it lies beside it, or signed in an envelope.
struct Document {
  std::string predicate_type;
  std::string text;                  // of the provenance or the SBOM itself
  std::vector<Digest> about;         // the images that it names
  std::vector<const PublicKey*> by;  // the known keys that signed it; empty: nobody known
};

struct Signature {
  std::string key_id;  // a hint
  std::vector<const PublicKey*> by;
};

class Verifier {
 public:
  Verifier(const store::Store& store, const Expected& expected, const Trust& trust, Time now)
      : store_(store), expected_(expected), trust_(trust), now_(now) {}

  std::vector<Check> run() {
    check_content();
    collect();
    check_signature();
    check_provenance();
    check_sboms();
    if (trust_.policy != nullptr) check_policy(*trust_.policy);
    return std::move(checks_);
  }

  std::vector<Digest> signers() {
    collect();
    std::vector<Digest> ids;
    for (const PublicKey& key : trust_.keys) {
      if (signed_with(key)) ids.push_back(key.id());
    }
    return ids;
  }

 private:
  void passed(std::string name, std::string said) { checks_.push_back({std::move(name), true, std::move(said)}); }
  void failed(std::string name, std::string said) { checks_.push_back({std::move(name), false, std::move(said)}); }
  // Runs it; an Error is a finding under `name`. True when there was none.
  bool finding(const std::string& name, const std::function<void()>& body) {
    try {
      body();
      return true;
    } catch (const Error& error) {
      failed(name, error.message());
      return false;
    }
  }
  const Digest& digest() const { return expected_.subject.digest; }
  std::vector<const PublicKey*> known_keys() const {
    std::vector<const PublicKey*> keys;
    for (const auto* list : {&trust_.keys, &trust_.required}) {
      for (const PublicKey& key : *list) keys.push_back(&key);
    }
    return keys;
  }

  // Every blob, so that all that were altered are named.
  void check_content() {
    std::optional<store::Artifact> described;
    if (!finding("content", [&] { described = store_.artifact(digest()); })) return;
    if (described) return check_description(*described);
    std::optional<store::Image> image;
    bool whole = finding("content", [&] { image = store_.image(digest()); });
    if (!image) return;
    for (const store::Blob& layer : image->layers) {
      whole &= finding("content", [&] {
        store_.verify(layer.digest);
        if (std::filesystem::file_size(store_.path_of(layer.digest)) != layer.size_bytes)
          throw Error(ErrorCode::corrupt, fmt::format("the layer {} has another size", layer.digest.str()));
      });
    }
    if (whole)
      passed("content", fmt::format("{} layers, {}: every byte has the digest that the image names",
                                    image->layers.size(), format_bytes(image->size_bytes())));
  }

  // Of an AMI whose bytes only AWS has.
  void check_description(const store::Artifact& described) {
    bool whole = true;
    for (const store::Blob& blob : described.blobs) whole &= finding("content", [&] { store_.verify(blob.digest); });
    if (whole) passed("content", "an AMI, whose bytes AWS has: what was read of its disk is as it was written down");
  }

  void collect() {
    std::vector<store::Artifact> artifacts;
    finding("content", [&] { artifacts = store_.artifacts_of(digest()); });
    for (const store::Artifact& artifact : artifacts) {
      const auto version = artifact.annotations.find(std::string(kVersionAnnotation));
      if (version != artifact.annotations.end() && version->second != expected_.subject.version) continue;
      for (const store::Blob& blob : artifact.blobs)
        finding(artifact.artifact_type == kSignatureType ? "signature" : "content",
                [&] { take(artifact, blob, store_.read(blob.digest)); });
    }
  }

  void take(const store::Artifact& artifact, const store::Blob& blob, const std::string& text) {
    if (artifact.artifact_type == kSignatureType) return take_signature(artifact, blob, text);
    if (artifact.artifact_type == kEnvelopeType) return take_envelope(text);
    if (artifact.artifact_type == kStatementType) return take_statement(read_statement(text), {});
    if (artifact.artifact_type == kSpdxType)
      documents_.push_back({std::string(kSpdxPredicate), text, {sbom_subject(text)}, {}});
    if (artifact.artifact_type == kCycloneDxType)
      documents_.push_back({std::string(kCycloneDxPredicate), text, {sbom_subject(text)}, {}});
  }

  void take_statement(Statement statement, std::vector<const PublicKey*> by) {
    documents_.push_back({std::move(statement.predicate_type), std::move(statement.predicate),
                          std::move(statement.subjects), std::move(by)});
  }

  void take_envelope(const std::string& text) {
    const Envelope envelope = read_envelope(text);
    if (envelope.payload_type != kStatementType) return;
    std::vector<const PublicKey*> by;
    for (const PublicKey* key : known_keys()) {
      if (envelope.signed_by(*key)) by.push_back(key);
    }
    take_statement(read_statement(envelope.payload), std::move(by));
  }

  void take_signature(const store::Artifact& artifact, const store::Blob& blob, const std::string& payload) {
    Signature signature;
    const auto hint = artifact.annotations.find(std::string(kKeyAnnotation));
    if (hint != artifact.annotations.end()) signature.key_id = hint->second;
    const auto sig = blob.annotations.find(std::string(kSignatureAnnotation));
    if (sig == blob.annotations.end()) throw Error(ErrorCode::corrupt, "a signature's artifact has no signature in it");
    const std::string about = reading_json("signature", payload, payload.size(), [](const Json& json) {
      return json.at("critical").at("image").at("docker-manifest-digest").get<std::string>();
    });
    if (about != digest().str())
      throw Error(ErrorCode::corrupt, fmt::format("a signature is for another image, {}", about));
    const std::string bytes = base64_decode(sig->second);
    for (const PublicKey* key : known_keys()) {
      if (key->verify(payload, bytes)) signature.by.push_back(key);
    }
    signatures_.push_back(std::move(signature));
  }

  static bool holds(const std::vector<const PublicKey*>& keys, const PublicKey& key) {
    return std::ranges::any_of(keys, [&](const PublicKey* one) { return one->id() == key.id(); });
  }
  bool signed_with(const PublicKey& key) const {
    return std::ranges::any_of(signatures_, [&](const Signature& one) { return holds(one.by, key); });
  }

  void check_signature() {
    for (const Digest& key : expected_.signed_by) {
      const bool there = std::ranges::any_of(
          signatures_, [&](const Signature& one) { return one.key_id.empty() || one.key_id == key.str(); });
      if (!there)
        failed("signature", fmt::format("the ledger says that key {} signed it, and that signature is not here: it was "
                                        "removed",
                                        key.short_str()));
    }
    if (trust_.keys.empty()) {
      if (!signatures_.empty() && trust_.required.empty())
        passed("signature", "signed; not checked, because no key was given (--key FILE)");
      return;
    }
    for (const PublicKey& key : trust_.keys) {
      if (!signed_with(key)) continue;
      passed("signature", fmt::format("signed by key {}", key.id().short_str()));
      signed_ = true;
    }
    if (signed_) return;
    if (signatures_.empty()) {
      failed("signature", "nobody has signed it");
      return;
    }
    failed("signature",
           fmt::format("it is signed, but not by {}: another key signed it, or it was altered since",
                       trust_.keys.size() == 1 ? "key " + trust_.keys[0].id().short_str() : "any key that is trusted"));
  }

  // The document to believe: of those about this image one that a known key signed, else any.
  const Document* best(std::string_view predicate_type) const {
    const Document* found = nullptr;
    for (const Document& document : documents_) {
      if (document.predicate_type != predicate_type) continue;
      if (std::ranges::find(document.about, digest()) == document.about.end()) continue;
      if (found == nullptr || document.by.size() > found->by.size()) found = &document;
    }
    return found;
  }

  // Whether a document of that kind is there and about this image; says what is wrong.
  const Document* expect(const std::string& name, std::string_view predicate_type, const std::string& what) {
    for (const Document& document : documents_) {
      if (document.predicate_type != predicate_type ||
          std::ranges::find(document.about, digest()) != document.about.end())
        continue;
      failed(name, fmt::format("{} is about another image, {}", what,
                               document.about.empty() ? "without a digest" : document.about.front().str()));
    }
    const Document* document = best(predicate_type);
    if (document == nullptr) {
      failed(name, fmt::format("there is no {} about this image: it was not baked by Kiln, or the {} was removed",
                               what.substr(what.find(' ') + 1), what.substr(what.find(' ') + 1)));
    } else if (signed_ && document->by.empty()) {
      failed(name, fmt::format("{} is not signed by a key that is trusted", what));
    } else if (signed_) {
      for (const Document& other : documents_) {
        if (other.predicate_type == predicate_type && other.text != document->text && other.by.empty())
          failed(name, fmt::format("another text lies beside {} that was signed", what));
      }
    }
    return document;
  }

  void check_provenance() {
    const std::size_t before = checks_.size();
    const Document* document = expect("provenance", kProvenanceV1, "the provenance");
    if (document == nullptr) return;
    finding("provenance", [&] { provenance_ = read_provenance(document->text); });
    if (!provenance_) return;
    if (provenance_->version != expected_.subject.version || provenance_->app != expected_.subject.app)
      failed("provenance", fmt::format("it was made for {}@{}", provenance_->app, provenance_->version));
    if (provenance_->commit != expected_.commit)
      failed("provenance", fmt::format("it says commit {}, the ledger says {}", or_none(provenance_->commit),
                                       or_none(expected_.commit)));
    if (checks_.size() == before)
      passed("provenance", fmt::format("baked by {} from {}{}{}", provenance_->builder, provenance_->base,
                                       provenance_->commit.empty() ? "" : ", commit ", provenance_->commit));
  }
  static std::string or_none(const std::string& text) { return text.empty() ? "none" : text; }

  void check_sboms() {
    for (const auto& [type, name] : {std::pair{kSpdxPredicate, "SPDX"}, std::pair{kCycloneDxPredicate, "CycloneDX"}}) {
      const std::size_t before = checks_.size();
      const Document* document = expect("sbom", type, fmt::format("the SBOM ({})", name));
      if (document == nullptr) continue;
      std::size_t count = 0;
      finding("sbom", [&, name = std::string_view(name)] {
        if (const Digest about = sbom_subject(document->text); about != digest())
          throw Error(ErrorCode::corrupt, fmt::format("the SBOM ({}) names another image, {}", name, about.str()));
        packages_ = sbom_packages(document->text);
        count = packages_.size();
      });
      if (checks_.size() == before) passed("sbom", fmt::format("{}: {} packages", name, count));
    }
  }

  void ask(const char* name, bool holds, const std::string& when_it_does, const std::string& when_not) {
    checks_.push_back({fmt::format("policy.{}", name), holds, holds ? when_it_does : when_not});
  }

  void check_policy(const spec::Policy& policy) {
    for (const PublicKey& key : trust_.required) {
      const bool there = signed_with(key);
      ask("signed_by", there, fmt::format("signed by key {}", key.id().short_str()),
          fmt::format("key {} has not signed it", key.id().short_str()));
    }
    if (policy.tests_passed) {
      bool passes = expected_.tests_passed.value_or(false);
      if (!expected_.tests_passed && provenance_ && !provenance_->tests.empty())
        passes = std::ranges::all_of(provenance_->tests, &BakeRecord::Test::passed);
      ask("tests", passes, "its tests passed", expected_.tests_passed ? "its tests failed" : "it was not tested");
    }
    if (!policy.packages_forbidden.empty() || !policy.packages_minimum.empty()) check_packages(policy);
    if (policy.builder.empty() && policy.base.empty() && !policy.commit_required && !policy.max_age) return;
    if (!provenance_) {
      ask("provenance", false, "", "what the policy asks of builder, base, commit and age needs the provenance");
      return;
    }
    check_origin(policy, *provenance_);
  }

  void check_origin(const spec::Policy& policy, const Provenance& provenance) {
    if (!policy.builder.empty())
      ask("builder", provenance.builder == policy.builder, "built by " + provenance.builder,
          fmt::format("built by {}, not by {}", provenance.builder, policy.builder));
    if (!policy.base.empty())
      ask("base", std::ranges::find(policy.base, provenance.base) != policy.base.end(), "stands on " + provenance.base,
          fmt::format("stands on {}; allowed is {}", provenance.base, join(policy.base, ", ")));
    if (policy.commit_required)
      ask("commit", !provenance.commit.empty(), "made from commit " + provenance.commit,
          "nobody knows the commit that it was made from");
    if (policy.max_age) {
      const Duration age = std::max(now_ - provenance.finished, Duration(0));
      ask("max_age", age <= *policy.max_age, "young enough",
          fmt::format("baked on {}, more than {} ago", format_iso8601(provenance.finished),
                      format_duration(*policy.max_age)));
    }
  }

  void check_packages(const spec::Policy& policy) {
    if (best(kSpdxPredicate) == nullptr && best(kCycloneDxPredicate) == nullptr) {
      ask("packages", false, "", "without an SBOM nobody knows its packages");
      return;
    }
    for (const std::string& name : policy.packages_forbidden) {
      const auto found = packages_.find(name);
      ask("packages", found == packages_.end(), fmt::format("no {}", name),
          fmt::format("{} is forbidden, and {} is installed", name, found == packages_.end() ? "" : found->second));
    }
    for (const auto& [name, version] : policy.packages_minimum) {
      const auto found = packages_.find(name);
      if (found == packages_.end()) continue;  // what is not there is not too old
      ask("packages", compare_versions(found->second, version) >= 0, fmt::format("{} {}", name, found->second),
          fmt::format("{} {} is older than {}", name, found->second, version));
    }
  }

  const store::Store& store_;
  const Expected& expected_;
  const Trust& trust_;
  Time now_;
  std::vector<Check> checks_;
  std::vector<Document> documents_;
  std::vector<Signature> signatures_;
  std::optional<Provenance> provenance_;
  std::map<std::string, std::string> packages_;
  bool signed_ = false;
};

}  // namespace

std::vector<Check> verify(const store::Store& store, const Expected& expected, const Trust& trust, Time now) {
  return Verifier(store, expected, trust, now).run();
}

std::vector<Digest> signers(const store::Store& store, const SbomSubject& subject, const std::vector<PublicKey>& keys) {
  const Expected expected{subject, {}, {}, {}};
  const Trust trust{keys, nullptr, {}};
  return Verifier(store, expected, trust, Time()).signers();
}

}  // namespace kiln::proof
