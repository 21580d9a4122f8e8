// read_template: which language it is, and its builds.
#include "packer/template.h"

#include <fmt/format.h>

#include <algorithm>

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

}  // namespace

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
    Build& build = out.builds.emplace_back();
    build.name = one.name;
    build.short_name = one.short_name;
    build.type = one.builder.type;
    build.image.where = one.builder.place.where;
    build.image.version_kind = spec::VersionKind::timestamp;
    read_builder(one, raw, build, out.notes);
    read_provisioners(one, outside, build);
    for (const auto& sequence : one.post_processors)
      build.post_processors.push_back(read_post_processors(sequence, one));
  }
  if (out.builds.empty())
    throw Error(ErrorCode::usage, fmt::format("-only and -except leave no build of {}", request.path));
  return out;
}

}  // namespace kiln::packer
