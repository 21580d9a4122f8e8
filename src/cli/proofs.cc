// Proofs: layers to inventories, bakes to provenance, keys from files.
#include "cli/proofs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/contents.h"
#include "cli/session.h"
#include "ledger/ledger.h"
#include "proof/provenance.h"

namespace kiln::cli {
namespace {

std::string tag(const bake::BakeResult& result, const char* name) {
  const auto found = result.tags.find(name);
  return found == result.tags.end() ? std::string() : found->second;
}

std::string builder_id() {
  const char* named = std::getenv("KILN_BUILDER");
  return named != nullptr && *named != '\0' ? named : std::string(proof::kBuilder);
}

proof::BakeRecord record_of(Context& context, const spec::App& app, const bake::BakeResult& result, Time started) {
  proof::BakeRecord record =
      begin_record(context, app, subject_of(app.name, result.version, result.image.digest), started);
  record.recipe = Digest::parse(tag(result, "kiln:recipe"));
  record.base = tag(result, "kiln:base");
  record.commit = tag(result, "kiln:commit");
  for (const bake::LayerReport& layer : result.layers)
    record.layers.push_back({layer.step, layer.key, layer.blob.digest, layer.reused});
  return record;
}

}  // namespace

std::string read_named_file(const host::Path& file) {
  try {
    return host::read_file(file);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::not_found) throw;
    throw Error(ErrorCode::usage, fmt::format("there is no file {}", file.string()),
                "Give the path of one that is there.");
  }
}

host::Path keys_folder(const Context& context) { return context.home / "keys"; }

std::optional<proof::SigningKey> signing_key(const Context& context, const std::string& file) {
  host::Path path = file;
  if (const char* named = std::getenv("KILN_SIGNING_KEY"); path.empty() && named != nullptr) path = named;
  if (path.empty()) {
    path = keys_folder(context) / "default.pem";
    if (!std::filesystem::exists(path)) return std::nullopt;
  }
  return proof::SigningKey::parse(read_named_file(path), path.string());
}

proof::PublicKey read_public_key(const host::Path& file) {
  return proof::PublicKey::parse(read_named_file(file), file.string());
}

std::vector<proof::PublicKey> trusted_keys(const Context& context, const std::string& file) {
  if (!file.empty()) return {read_public_key(file)};
  std::vector<proof::PublicKey> keys;
  if (!std::filesystem::exists(keys_folder(context))) return keys;
  for (const std::string& name : host::list_folder(keys_folder(context))) {
    if (name.ends_with(".pub")) keys.push_back(read_public_key(keys_folder(context) / name));
  }
  return keys;
}

catalog::Image find_image(const Context& context, const std::string& reference) {
  const std::string app = reference.find('@') == std::string::npos ? load_app(context).name : std::string();
  ledger::Ledger ledger(context.ledger_folder(), context.clock, context.actor());
  return catalog::Catalog(ledger).find(reference, app);
}

proof::SbomSubject subject_of(const std::string& app, const std::string& version, const Digest& digest) {
  return {app, version, digest, std::string(kVersion)};
}

proof::SbomSubject subject_of(const catalog::Image& image) {
  return subject_of(image.app, image.version, image.digest);
}

proof::BakeRecord begin_record(const Context& context, const spec::App& app, const proof::SbomSubject& subject,
                               Time started) {
  proof::BakeRecord record;
  record.app = subject.app;
  record.version = subject.version;
  record.digest = subject.digest;
  record.recipe_name = host::Path(app.source.file_name).filename().string();
  record.recipe_text = app.source.text;
  record.builder = builder_id();
  record.kiln = kVersion;
  record.started = started;
  record.finished = context.clock.now();
  record.invocation =
      fmt::format("urn:kiln:bake:{}:{}:{}", subject.app, subject.version, format_basic_iso8601(started));
  return record;
}

void prove(store::Store& store, const proof::SbomSubject& subject, const proof::Inventory& inventory,
           proof::BakeRecord record) {
  for (const proof::Package& package : inventory.packages)
    record.packages.push_back(proof::package_url(inventory, package));
  prove_contents(store, subject, inventory);
  proof::attach(store, subject, proof::kStatementType, proof::write_provenance(record));
}

proof::Inventory inventory_of(Context& context, const store::Store& store, const Digest& image) {
  proof::ContentsReader reader = contents_reader(context, store);
  return proof::take_inventory(contents_of(reader, store, image));
}

void prove_contents(store::Store& store, const proof::SbomSubject& subject, const proof::Inventory& inventory) {
  proof::attach(store, subject, proof::kSpdxType, proof::write_spdx(subject, inventory));
  proof::attach(store, subject, proof::kCycloneDxType, proof::write_cyclonedx(subject, inventory));
}

void prove(Context& context, store::Store& store, const spec::App& app, const bake::BakeResult& result, Time started,
           std::vector<proof::BakeRecord::Test> tests) {
  const proof::SbomSubject subject = subject_of(app.name, result.version, result.image.digest);
  with_context("writing down what is in the image", [&] {
    const bool contents = proof::find_document(store, subject, proof::kSpdxType) &&
                          proof::find_document(store, subject, proof::kCycloneDxType);
    const bool provenance = proof::find_document(store, subject, proof::kStatementType).has_value();
    if (contents && provenance) return;
    const proof::Inventory inventory = inventory_of(context, store, subject.digest);
    if (!contents) prove_contents(store, subject, inventory);
    if (provenance) return;
    proof::BakeRecord record = record_of(context, app, result, started);
    record.tests = std::move(tests);
    for (const proof::Package& package : inventory.packages)
      record.packages.push_back(proof::package_url(inventory, package));
    proof::attach(store, subject, proof::kStatementType, proof::write_provenance(record));
  });
}

bool sign(Context& context, store::Store& store, const proof::SbomSubject& subject, const proof::SigningKey& key) {
  const auto artifact = proof::sign_image(store, subject, key);
  if (!artifact) return false;
  ledger::Ledger ledger(context.ledger_folder(), context.clock, context.actor());
  ledger.append("image.signed", subject.app,
                {{"version", subject.version},
                 {"digest", subject.digest.str()},
                 {"key", key.public_key().id().str()},
                 {"artifact", artifact->str()}});
  return true;
}

int report_checks(const std::string& image, const Digest& digest, const std::vector<proof::Check>& checks, bool json) {
  const bool passed = std::ranges::all_of(checks, &proof::Check::passed);
  if (json) {
    nlohmann::json list = nlohmann::json::array();
    for (const proof::Check& check : checks)
      list.push_back({{"check", check.name}, {"passed", check.passed}, {"said", check.said}});
    say_json({{"image", image}, {"digest", digest.str()}, {"passed", passed}, {"checks", list}});
  } else {
    for (const proof::Check& check : checks)
      say(fmt::format("  {:<6} {:<18} {}", check.passed ? "ok" : "FAILED", check.name, check.said));
    say(fmt::format("{} ({}) {}", image, digest.short_str(), passed ? "is what it says it is" : "must not be trusted"));
  }
  return passed ? 0 : 6;
}

}  // namespace kiln::cli
