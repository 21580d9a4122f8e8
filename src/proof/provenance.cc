// Provenance: the statement's JSON both ways.
#include "proof/provenance.h"

#include <algorithm>

#include "proof/json.h"

namespace kiln::proof {
namespace {

constexpr std::size_t kStatementBytesMax = std::size_t{256} << 20;

Json sha256_of(const Digest& digest) { return {{"sha256", digest.hex()}}; }

Json dependencies(const BakeRecord& record) {
  Json list = Json::array();
  const std::size_t at = record.base.rfind("@sha256:");
  Json base{{"name", "base"}, {"uri", record.base.substr(0, at)}};
  if (at != std::string::npos) base["digest"] = sha256_of(Digest::parse(record.base.substr(at + 1)));
  list.push_back(std::move(base));
  list.push_back({{"name", "recipe and its inputs"}, {"digest", sha256_of(record.recipe)}});
  for (const BakeRecord::Input& input : record.inputs)
    list.push_back({{"name", "step: " + input.name}, {"digest", sha256_of(input.digest)}});
  if (!record.commit.empty()) list.push_back({{"name", "source"}, {"digest", {{"gitCommit", record.commit}}}});
  for (const std::string& package : record.packages) list.push_back({{"uri", package}});
  return list;
}

Json byproducts(const BakeRecord& record) {
  Json list = Json::array();
  for (const BakeRecord::Layer& layer : record.layers) {
    list.push_back({{"name", "layer: " + layer.step},
                    {"digest", sha256_of(layer.digest)},
                    {"annotations", {{"key", layer.key.str()}, {"reused", layer.reused}}}});
  }
  for (const BakeRecord::Test& test : record.tests)
    list.push_back({{"name", "test: " + test.name}, {"annotations", {{"passed", test.passed}}}});
  return list;
}

}  // namespace

std::string write_statement(const std::string& name, const Digest& digest, std::string_view predicate_type,
                            std::string_view predicate) {
  return to_text({{"_type", kStatementV1},
                  {"subject", Json::array({{{"name", name}, {"digest", sha256_of(digest)}}})},
                  {"predicateType", predicate_type},
                  {"predicate", Json::parse(predicate)}});
}

std::string write_provenance(const BakeRecord& record) {
  const Json recipe{
      {"name", record.recipe_name}, {"digest", sha256_of(sha256(record.recipe_text))}, {"text", record.recipe_text}};
  const Json predicate{{"buildDefinition",
                        {{"buildType", record.build_type},
                         {"externalParameters", {{"app", record.app}, {"version", record.version}, {"recipe", recipe}}},
                         {"internalParameters", Json(record.parameters)},
                         {"resolvedDependencies", dependencies(record)}}},
                       {"runDetails",
                        {{"builder", {{"id", record.builder}, {"version", {{"kiln", record.kiln}}}}},
                         {"metadata",
                          {{"invocationId", record.invocation},
                           {"startedOn", format_iso8601(record.started)},
                           {"finishedOn", format_iso8601(record.finished)}}},
                         {"byproducts", byproducts(record)}}}};
  return write_statement(record.app + "@" + record.version, record.digest, kProvenanceV1, to_text(predicate));
}

bool Statement::is_about(const Digest& digest) const { return std::ranges::find(subjects, digest) != subjects.end(); }

Statement read_statement(std::string_view text) {
  return reading_json("statement", text, kStatementBytesMax, [](const Json& json) {
    if (json.at("_type") != kStatementV1) throw Error(ErrorCode::corrupt, "statement: not an in-toto Statement v1");
    Statement statement;
    for (const Json& subject : json.at("subject")) {
      // A subject may be named by other digests than ours.
      if (subject.at("digest").contains("sha256"))
        statement.subjects.push_back(Digest::parse("sha256:" + subject["digest"]["sha256"].get<std::string>()));
    }
    json.at("predicateType").get_to(statement.predicate_type);
    statement.predicate = to_text(json.at("predicate"));
    return statement;
  });
}

Provenance read_provenance(std::string_view predicate) {
  return reading_json("provenance", predicate, kStatementBytesMax, [](const Json& json) {
    Provenance provenance;
    const Json& definition = json.at("buildDefinition");
    const Json& details = json.at("runDetails");
    definition.at("buildType").get_to(provenance.build_type);
    details.at("builder").at("id").get_to(provenance.builder);
    const Json& parameters = definition.at("externalParameters");
    provenance.app = parameters.value("app", "");
    provenance.version = parameters.value("version", "");
    for (const Json& dependency : definition.value("resolvedDependencies", Json::array())) {
      const std::string name = dependency.value("name", "");
      const Json digest = dependency.value("digest", Json::object());
      if (name == "base") provenance.base = dependency.value("uri", "");
      if (name == "source") provenance.commit = digest.value("gitCommit", "");
    }
    const Json metadata = details.value("metadata", Json::object());
    if (metadata.contains("finishedOn")) provenance.finished = parse_iso8601(metadata["finishedOn"].get<std::string>());
    for (const Json& product : details.value("byproducts", Json::array())) {
      const std::string name = product.value("name", "");
      if (!name.starts_with("test: ")) continue;
      provenance.tests.push_back({name.substr(6), product.at("annotations").at("passed").get<bool>()});
    }
    return provenance;
  });
}

}  // namespace kiln::proof
