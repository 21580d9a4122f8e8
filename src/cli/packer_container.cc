// PackerContainer: the image as OCI's tar layers, kept in the store under its names, and pushed from there.
#include "cli/packer_container.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "oci/export.h"
#include "oci/import.h"
#include "registry/transfer.h"

namespace kiln::cli {
namespace {

using Kind = packer::PostProcessor::Kind;

// Of how containers are made; another number makes all of them anew.
constexpr const char* kContainerKind = "1";

constexpr const char* kOciManifest = "application/vnd.oci.image.manifest.v1+json";
constexpr const char* kRefName = "org.opencontainers.image.ref.name";

std::vector<std::string> names_of(const packer::PostProcessor& tag) {
  std::vector<std::string> out;
  for (const std::string& one : tag.tags) out.push_back(tag.repository + ":" + one);
  return out;
}

// What the base says of a container's process; nothing of its layers.
std::string process_of(const std::string& config) {
  const auto json = nlohmann::json::parse(config, nullptr, false);
  if (!json.is_object() || !json.contains("config") || !json["config"].is_object()) return "{}";
  return json["config"].dump();
}

// The image with tar layers; made before when its note says so.
Digest converted(const Context& context, store::Store& store, const Digest& image, const std::string& process) {
  const Digest key = sha256(fmt::format("{} {} {}", kContainerKind, image.str(), process));
  const host::Path note = context.home / "cache" / "containers" / key.hex();
  if (std::filesystem::exists(note)) {
    const Digest made = Digest::parse(host::read_file(note));
    if (store.has(made)) return made;
  }
  const auto work = store.temporary();
  oci::ExportOptions options;
  options.name = "image";
  options.process = process;
  oci::export_image(store, image, work->path() / "layout", options);
  const Digest made = oci::keep_container("oci:layout:image", work->path(), store, key.hex());
  host::make_folders(note.parent_path());
  host::write_file(note, made.str());
  return made;
}

registry::Connect connect_as(const packer::PostProcessor& push, const std::string& registry) {
  registry::Connect connect;
  connect.cancelled = [] { return Context::interrupted().load(); };
  if (push.username.empty()) return connect;
  // Before all that is written down on this machine, and for this one registry.
  connect.env = [=, server = push.server.empty() ? registry : push.server](const char* name) {
    const std::map<std::string, std::string> given = {{"KILN_REGISTRY_HOST", server},
                                                      {"KILN_REGISTRY_USER", push.username},
                                                      {"KILN_REGISTRY_PASSWORD", push.password}};
    const auto found = given.find(name);
    return found == given.end() ? registry::process_env(name) : std::optional<std::string>(found->second);
  };
  return connect;
}

void push_one(Context& context, const store::Store& store, const Digest& container, const std::string& name,
              const packer::PostProcessor& how, bool quiet) {
  const registry::Reference to = registry::parse_reference(name);
  registry::Client client(to.registry, connect_as(how, to.registry), context.clock, context.random);
  const registry::Moved moved = registry::push(store, container, client, to, {});
  if (!quiet) talk(fmt::format("  pushed {}@{}", to.str(), moved.digest.str()));
}

}  // namespace

void check_container(const PackerBake& bake) {
  for (const auto& sequence : bake.build().post_processors) {
    std::vector<std::string> names;
    for (const packer::PostProcessor& one : sequence) {
      if (one.kind == Kind::docker_tag) names = names_of(one);
      if (one.kind != Kind::docker_push) continue;
      for (const std::string& name : names) {
        try {
          registry::parse_reference(name);
        } catch (const Error& error) {
          throw one.place.error(error.message(), "name the registry in 'docker-tag': repository = \"registry/name\"");
        }
      }
    }
  }
}

void tag_and_push(Context& context, const PackerBake& bake, store::Store& store, const Digest& image,
                  const std::string& config, bool quiet) {
  for (const auto& sequence : bake.build().post_processors) {
    std::vector<std::string> names;
    for (const packer::PostProcessor& one : sequence) {
      if (one.kind != Kind::docker_tag && one.kind != Kind::docker_push) continue;
      const Digest container = converted(context, store, image, process_of(config));
      if (one.kind == Kind::docker_tag) {
        names = names_of(one);
        for (const std::string& name : names) {
          store.add_manifest(store.read(container), std::string(kOciManifest), {{kRefName, name}});
          if (!quiet) talk("  tagged " + name);
        }
        continue;
      }
      for (const std::string& name : names)
        with_context("pushing " + name, [&] { push_one(context, store, container, name, one, quiet); });
    }
  }
}

}  // namespace kiln::cli
