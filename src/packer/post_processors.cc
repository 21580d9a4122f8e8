// read_post_processors, manifest_of: what happens with an image when it is made.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "packer/internal/raw.h"

namespace kiln::packer {
namespace {

PostProcessor read_manifest(Settings& settings) {
  PostProcessor out;
  out.kind = PostProcessor::Kind::manifest;
  out.output = settings.text("output", "packer-manifest.json");
  out.strip_path = settings.flag("strip_path", false);
  out.custom_data = settings.map("custom_data");
  settings.accept({"strip_time"});
  return out;
}

PostProcessor read_checksum(Settings& settings) {
  PostProcessor out;
  out.kind = PostProcessor::Kind::checksum;
  out.types = settings.texts("checksum_types");
  if (out.types.empty()) out.types = {"md5"};  // Packer's own
  for (const std::string& type : out.types) {
    if (type == "md5" || type == "sha1" || type == "sha224" || type == "sha256" || type == "sha384" || type == "sha512")
      continue;
    throw settings.place("checksum_types")
        .error(fmt::format("there is no checksum '{}'", type),
               "there are md5, sha1, sha224, sha256, sha384 and sha512");
  }
  out.output = settings.raw_text("output", "packer_{{.BuildName}}_{{.BuilderType}}_{{.ChecksumType}}.checksum");
  return out;
}

PostProcessor read_docker_tag(Settings& settings) {
  PostProcessor out;
  out.kind = PostProcessor::Kind::docker_tag;
  out.repository = settings.required("repository");
  out.tags = settings.texts("tag");
  for (const std::string& tag : settings.texts("tags")) out.tags.push_back(tag);
  if (out.tags.empty()) out.tags = {"latest"};
  settings.accept({"force"});
  return out;
}

PostProcessor read_docker_push(Settings& settings) {
  PostProcessor out;
  out.kind = PostProcessor::Kind::docker_push;
  settings.flag("login", false);
  out.server = settings.text("login_server");
  out.username = settings.text("login_username");
  out.password = settings.text("login_password");
  settings.refuse("ecr_login", "Kiln does not ask AWS for a registry's password",
                  "give it: login_username = \"AWS\", login_password");
  settings.accept({"login_email"});
  return out;
}

}  // namespace

std::vector<PostProcessor> read_post_processors(const std::vector<Raw>& sequence, const RawBuild& build) {
  std::vector<PostProcessor> out;
  for (const Raw& raw : sequence) {
    Settings settings(raw.settings, raw.place, fmt::format("the post-processor '{}'", raw.type), build.with);
    if (!meant_for(settings, build)) continue;
    settings.accept({"keep_input_artifact", "name"});
    using Read = PostProcessor (*)(Settings&);
    static const std::map<std::string, Read> kKinds = {{"manifest", read_manifest},
                                                       {"checksum", read_checksum},
                                                       {"docker-tag", read_docker_tag},
                                                       {"docker-push", read_docker_push}};
    const auto kind = kKinds.find(raw.type);
    if (kind == kKinds.end()) {
      std::vector<std::string> names;
      for (const auto& [name, read] : kKinds) names.push_back(name);
      const auto near = nearest(raw.type, names);
      throw raw.place.error(fmt::format("the post-processor '{}' is not supported{}", raw.type,
                                        near ? fmt::format("; did you mean '{}'?", *near) : ""),
                            "there are manifest, checksum, docker-tag and docker-push; do other work after kiln bake, "
                            "with what --json says");
    }
    const bool tagged = std::ranges::find(out, PostProcessor::Kind::docker_tag, &PostProcessor::kind) != out.end();
    out.push_back(kind->second(settings));
    out.back().place = raw.place;
    settings.finish();
    if (out.back().kind == PostProcessor::Kind::docker_push && !tagged)
      throw raw.place.error("'docker-push' pushes what a 'docker-tag' before it has named, and there is none",
                            "put both into one sequence: post-processors { post-processor \"docker-tag\" { .. } .. }");
  }
  return out;
}

std::string manifest_of(const std::string& before, const Outcome& outcome, const PostProcessor& how) {
  nlohmann::ordered_json manifest = {{"builds", nlohmann::ordered_json::array()}, {"last_run_uuid", ""}};
  if (!trim(before).empty()) {
    manifest = nlohmann::ordered_json::parse(before, nullptr, false);
    if (!manifest.is_object() || !manifest.contains("builds") || !manifest["builds"].is_array())
      throw how.place.error(fmt::format("'{}' is not a manifest of Packer's", how.output),
                            "remove it, or give 'output' another name");
  }
  nlohmann::ordered_json build = {
      {"name", outcome.name},
      {"builder_type", outcome.type},
      {"build_time", std::chrono::floor<std::chrono::seconds>(outcome.now).time_since_epoch().count()},
      {"files", nullptr},
      {"artifact_id", outcome.artifact},
      {"packer_run_uuid", outcome.uuid},
      {"custom_data", nullptr}};
  if (!how.custom_data.empty()) build["custom_data"] = how.custom_data;
  manifest["builds"].push_back(build);
  manifest["last_run_uuid"] = outcome.uuid;
  return manifest.dump(2) + "\n";
}

}  // namespace kiln::packer
