// ForeignImages: sources to layers, and the memory of what was imported.
#include "cli/foreign_images.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "oci/dockerfile.h"
#include "oci/import.h"
#include "spec/image_builder/image_builder.h"

namespace kiln::cli {
namespace {

using Json = nlohmann::json;

// Of how imports are made; another number makes all of them anew.
constexpr const char* kImportKind = "1";

// What a root that was no machine's needs to be one: its own id, and host keys of its own, made at the first boot.
constexpr const char* kFitForMachines = R"(
: > /etc/machine-id
chmod 0444 /etc/machine-id
if ls /etc/ssh/ssh_host_* >/dev/null 2>&1; then
  rm -f /etc/ssh/ssh_host_*
  mkdir -p /etc/systemd/system/ssh.service.d
  printf '[Service]\nExecStartPre=\nExecStartPre=/usr/bin/ssh-keygen -A\nExecStartPre=/usr/sbin/sshd -t\n' \
    > /etc/systemd/system/ssh.service.d/kiln-host-keys.conf
fi
[ -e /etc/hosts ] || printf '127.0.0.1 localhost\n::1 localhost\n' > /etc/hosts
)";

host::Path imports_folder(const host::Path& home) { return home / "cache" / "imports"; }

struct Remembered {
  std::vector<store::Blob> layers;
  std::string config;
};

std::optional<Remembered> remembered(const host::Path& file, const store::Store& store) {
  if (!std::filesystem::exists(file)) return std::nullopt;
  Remembered out;
  try {
    const Json json = Json::parse(host::read_file(file));
    out.config = json.at("config").get<std::string>();
    for (const Json& one : json.at("layers")) {
      out.layers.push_back({Digest::parse(one.at("digest").get<std::string>()), one.at("size").get<std::uint64_t>(),
                            std::string(store::kErofsLayerType)});
      if (!store.has(out.layers.back().digest)) return std::nullopt;
    }
  } catch (const Json::exception&) {
    return std::nullopt;
  }
  return out;
}

void remember(const host::Path& file, const oci::Imported& imported) {
  Json list = Json::array();
  for (const store::Blob& layer : imported.layers)
    list.push_back({{"digest", layer.digest.str()}, {"size", layer.size_bytes}});
  host::make_folders(file.parent_path());
  host::write_file(file, Json{{"layers", list}, {"config", imported.config}}.dump());
}

oci::Dockerfile dockerfile_of(const spec::DockerfileSource& source, const host::Path& folder) {
  return {folder / source.file, folder / source.context, source.target, source.args};
}

// A failure about the source is one of kiln.yaml's line too.
template <typename Act>
auto at_line(const spec::App& app, Act&& act) -> decltype(act()) {
  try {
    return act();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::usage && error.code() != ErrorCode::not_found) throw;
    throw app.source.error(app.image.where, error.message(), error.next());
  }
}

// What is wrong in a document quotes the document; one that is not there is a matter of kiln.yaml's line.
spec::ImageBuilderImage read_documents(const spec::ImageBuilderSource& source, const spec::App& app,
                                       const host::Path& folder) {
  const auto read = [&](const std::string& name) -> std::string {
    const host::Path file = folder / name;
    if (std::filesystem::is_regular_file(file)) return host::read_file(file);
    throw Error(ErrorCode::not_found, fmt::format("'{}' is no file in {}", name, folder.string()),
                "Put it there, or name the one that is meant.");
  };
  try {
    return spec::read_image_builder(source, app.source, app.image.where, read);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::not_found) throw;
    throw app.source.error(app.image.where, error.message(), "names are relative to the folder of kiln.yaml");
  }
}

}  // namespace

ForeignImages::ForeignImages(const Context& context, store::Store& store,
                             std::optional<spec::DockerfileSource> dockerfile, bake::BaseImages* others,
                             std::function<void(std::string_view)> on_output, std::function<bool()> cancelled)
    : context_(context),
      store_(store),
      dockerfile_(std::move(dockerfile)),
      others_(others),
      on_output_(std::move(on_output)),
      cancelled_(std::move(cancelled)) {}

std::vector<store::Blob> ForeignImages::layers_of(const spec::App& app, const std::string& app_folder) {
  const bool ours = dockerfile_.has_value() || std::holds_alternative<spec::ArchiveBase>(app.image.base) ||
                    std::holds_alternative<spec::OciBase>(app.image.base);
  if (ours) return at_line(app, [&] { return import(app, app_folder); });
  return others_ != nullptr ? others_->layers_of(app, app_folder) : std::vector<store::Blob>{};
}

std::vector<store::Blob> ForeignImages::import(const spec::App& app, const host::Path& folder) {
  const auto* dockerfile = dockerfile_ ? &*dockerfile_ : nullptr;
  const auto* archive = std::get_if<spec::ArchiveBase>(&app.image.base);
  const auto* image = std::get_if<spec::OciBase>(&app.image.base);
  const Digest source = dockerfile != nullptr ? oci::inputs_of(dockerfile_of(*dockerfile, folder))
                        : archive != nullptr  ? oci::source_of_archive(folder / archive->path)
                                              : oci::source_of_oci(image->reference, folder, store_);
  const Digest key = sha256(fmt::format("{} {} {}", kImportKind, dockerfile != nullptr, source.str()));
  const host::Path file = imports_folder(context_.home) / (key.hex() + ".json");
  if (const auto known = remembered(file, store_)) {
    config_ = known->config;
    return known->layers;
  }

  const oci::ImportOptions options{
      .limits = {}, .cancelled = cancelled_, .memory = imports_folder(context_.home) / "layers"};
  oci::Imported imported;
  std::string name;
  if (dockerfile != nullptr) {
    const auto work = store_.temporary();
    oci::build(dockerfile_of(*dockerfile, folder), context_.home / "buildah", work->path() / "layout", on_output_,
               cancelled_);
    imported = oci::import_oci("oci:layout:image", work->path(), store_, options);
    name = dockerfile->file;
  } else if (archive != nullptr) {
    imported = oci::import_archive(folder / archive->path, store_, options);
    name = archive->path;
  } else {
    imported = oci::import_oci(image->reference, folder, store_, options);
    name = image->reference;
  }
  // A base without an init may get one from the steps above it; a Dockerfile has none.
  if (dockerfile != nullptr) oci::require_init(imported, name);
  remember(file, imported);
  config_ = imported.config;
  return imported.layers;
}

Digest ForeignImages::keep_container(const spec::App& app, const host::Path& app_folder, const std::string& name) {
  if (!dockerfile_) {
    throw app.source.error(app.image.where, "images of containers are built from a Dockerfile, and 'image' names none",
                           "image: {dockerfile: ./Dockerfile}; kiln export writes a machine's image for containers");
  }
  return at_line(app, [&] {
    const auto work = store_.temporary();
    oci::build(dockerfile_of(*dockerfile_, app_folder), context_.home / "buildah", work->path() / "layout", on_output_,
               cancelled_);
    return oci::keep_container("oci:layout:image", work->path(), store_, name);
  });
}

std::optional<spec::DockerfileSource> read_foreign_source(spec::App& app, const host::Path& app_folder) {
  if (const auto* builder = std::get_if<spec::ImageBuilderSource>(&app.image.source)) {
    spec::ImageBuilderImage image = read_documents(*builder, app, app_folder);
    const bool unnamed = app.image.base == spec::Base(spec::DebianBase{});
    if (unnamed && !image.base) {
      throw app.source.error(app.image.where, "'image_builder' says nothing that Kiln can start from",
                             "write 'from' beside it, as 'from: debian:bookworm'");
    }
    if (unnamed) app.image.base = *image.base;
    for (spec::Step& step : image.steps) app.image.steps.push_back(std::move(step));
    for (spec::ImageCheck& check : image.tests) app.image.test.push_back(std::move(check));
    app.image.source = {};
  }
  std::optional<spec::DockerfileSource> dockerfile;
  if (const auto* source = std::get_if<spec::DockerfileSource>(&app.image.source)) {
    if (app.image.base != spec::Base(spec::DebianBase{})) {
      throw app.source.error(app.image.where, "'dockerfile' says itself what it starts from, and 'from' is beside it",
                             "leave 'from' out, or name that image in the Dockerfile's FROM");
    }
    dockerfile = *source;
    app.image.base = spec::OciBase{"dockerfile:" + source->file};
    app.image.source = {};
  }
  if (std::holds_alternative<spec::ArchiveBase>(app.image.base) ||
      std::holds_alternative<spec::OciBase>(app.image.base)) {
    spec::RunStep fit;
    fit.commands = {kFitForMachines};
    fit.title = "fit for machines";
    app.image.steps.push_back({.where = app.image.where, .action = std::move(fit)});
  }
  return dockerfile;
}

}  // namespace kiln::cli
