// read_template: which language it is, and its builds.
#include "packer/template.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/mask.h"
#include "base/text.h"
#include "packer/internal/raw.h"

namespace kiln::packer {
namespace {

bool selected(const Request& request, const std::string& name) {
  const auto matches = [&](const std::string& pattern) { return wildcard_match(pattern, name); };
  return (request.only.empty() || std::ranges::any_of(request.only, matches)) &&
         std::ranges::none_of(request.except, matches);
}

void check_selection(const Request& request, const RawTemplate& raw) {
  std::vector<std::string> names;
  for (const RawBuild& build : raw.builds) names.push_back(build.name);
  for (const auto* patterns : {&request.only, &request.except}) {
    for (const std::string& pattern : *patterns) {
      if (std::ranges::any_of(names, [&](const std::string& name) { return wildcard_match(pattern, name); })) continue;
      const auto near = nearest(pattern, names);
      throw Error(ErrorCode::usage,
                  fmt::format("{} has no build '{}'{}", request.path, pattern,
                              near ? fmt::format("; did you mean '{}'?", *near) : ""),
                  "it has: " + join(names, ", "));
    }
  }
}

// What would be shown of it: by EC2, by the ledger, and on the screen.
void hide(const std::vector<std::string>& secrets, const Place& place, Build& build) {
  build.image.hidden = secrets;
  if (!build.ami) return;
  if (masked(build.ami->name, secrets) != build.ami->name)
    throw place.error("'ami_name' holds a sensitive value, and an AMI's name can be read by everybody",
                      "name it otherwise, or let the variable not be sensitive");
  build.ami->description = masked(build.ami->description, secrets);
  std::map<std::string, std::string> tags;
  for (const auto& [name, value] : build.ami->tags) tags[masked(name, secrets)] = masked(value, secrets);
  build.ami->tags = std::move(tags);
}

void read_build(RawBuild& one, const RawTemplate& raw, const Outside& outside, Template& out) {
  Build& build = out.builds.emplace_back();
  build.name = one.name;
  build.short_name = one.short_name;
  build.type = one.builder.type;
  build.image.where = one.builder.place.where;
  build.image.version_kind = spec::VersionKind::timestamp;
  read_builder(one, raw, build, out.notes);
  read_provisioners(one, outside, build);
  for (const auto& sequence : one.post_processors) build.post_processors.push_back(read_post_processors(sequence, one));
  hide(raw.secrets, one.builder.place, build);
}

}  // namespace

void keep_secret(const Value& value, RawTemplate& in) {
  const bool shown = value.is(Value::Kind::text) || value.is(Value::Kind::number);
  if (const auto text = text_of(value); shown && !text->empty()) {
    in.short_secrets |= text->size() < kMaskedBytesMin;
    in.secrets.push_back(*text);
  }
  for (const Value& item : value.items) keep_secret(item, in);
  for (const auto& [key, member] : value.members) keep_secret(member, in);
}

Template read_template(const Request& request, const Outside& outside) {
  if (request.path.ends_with(".pkr.json"))
    throw Error(ErrorCode::usage, fmt::format("'{}': HCL2 written as JSON is not supported", request.path),
                "write it as .pkr.hcl");
  const bool legacy = request.path.ends_with(".json");
  RawTemplate raw = legacy ? read_legacy(request, outside) : read_hcl2(request, outside);
  check_selection(request, raw);
  Template out;
  out.source = raw.main;
  out.files = raw.files;
  out.secrets = raw.secrets;
  if (raw.short_secrets)
    out.notes.push_back(
        fmt::format("a sensitive value of fewer than {} characters is shown: it would hide half of "
                    "every output",
                    kMaskedBytesMin));
  for (RawBuild& one : raw.builds) {
    if (!selected(request, one.name)) continue;
    if (legacy) {
      one.with.build_name = one.short_name;
      one.with.build_type = one.builder.type;
      const Value* user = one.builder.settings.find("ssh_username");
      one.with.build = {{"ID", "kiln"},
                        {"Host", "localhost"},
                        {"User", user == nullptr ? "root" : text_of(*user).value_or("root")},
                        {"PackerRunUUID", outside.uuid}};
    }
    try {
      read_build(one, raw, outside, out);
    } catch (const Error& error) {
      throw masked(error, raw.secrets);
    }
  }
  if (out.builds.empty())
    throw Error(ErrorCode::usage, fmt::format("-only and -except leave no build of {}", request.path));
  return out;
}

}  // namespace kiln::packer
