// Import: find the image, check its blobs, unpack each layer, make erofs of it.
#include "oci/import.h"

#include <fmt/format.h>

#include <memory>

#include "base/error.h"
#include "base/text.h"
#include "host/pieces.h"
#include "host/process.h"
#include "oci/layout.h"
#include "store/erofs.h"

namespace kiln::oci {
namespace {

namespace fs = std::filesystem;

constexpr const char* kForms =
    "oci:FOLDER[:TAG], oci-archive:FILE[:TAG], docker://HOST/NAME[:TAG], docker-archive:FILE";

struct Reference {
  std::string transport;
  std::string path;  // of oci, oci-archive, docker-archive
  std::string tag;
};

Reference parse_reference(const std::string& text) {
  Reference reference;
  const auto colon = text.find(':');
  if (colon == std::string::npos) {
    throw Error(ErrorCode::usage, fmt::format("'{}' names no OCI image", text), fmt::format("write {}", kForms));
  }
  reference.transport = text.substr(0, colon);
  std::string rest = text.substr(colon + 1);
  for (const char* known : {"docker", "docker-archive", "oci", "oci-archive"}) {
    if (reference.transport != known) continue;
    if (reference.transport == "docker") return reference;
    // A tag holds no '/', so a digest or a name after the last ':' is one.
    const auto at = rest.find(':');
    reference.path = rest.substr(0, at);
    if (at != std::string::npos) reference.tag = rest.substr(at + 1);
    if (reference.path.empty())
      throw Error(ErrorCode::usage, fmt::format("'{}' names no file", text), fmt::format("write {}", kForms));
    return reference;
  }
  throw Error(ErrorCode::usage, fmt::format("'{}:' in '{}' is not known", reference.transport, text),
              fmt::format("write {}", kForms));
}

// The layout that holds the image, and its tag there.
struct Found {
  fs::path layout;
  std::string tag;
};

Found find(const std::string& text, const fs::path& folder, const fs::path& work) {
  const Reference reference = parse_reference(text);
  if (reference.transport == "oci") return {folder / reference.path, reference.tag};
  const fs::path layout = work / "layout";
  if (reference.transport == "oci-archive") {
    fs::create_directory(layout);
    unpack(folder / reference.path, layout, {.owners = false});
    return {layout, reference.tag};
  }
  std::string from = text;
  if (reference.transport == "docker-archive") {
    from = fmt::format("docker-archive:{}{}", (folder / reference.path).string(),
                       reference.tag.empty() ? "" : ":" + reference.tag);
  }
  host::Command command;
  command.argv = {"skopeo",        "copy",  "--quiet",
                  "--override-os", "linux", "--override-arch",
                  "amd64",         from,    fmt::format("oci:{}:image", layout.string())};
  const host::CommandResult result = host::run(command);
  if (!result.ok()) {
    throw Error(ErrorCode::unavailable,
                fmt::format("skopeo cannot copy {}: {}", from, last_lines(result.err + result.out, 3)));
  }
  return {layout, "image"};
}

bool is_tar_layer(const std::string& type) {
  for (const char* known :
       {"application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.oci.image.layer.v1.tar+zstd", "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.diff.tar", "application/vnd.docker.image.rootfs.diff.tar.zstd"}) {
    if (type == known) return true;
  }
  return false;
}

// What a name is after this layer: there, gone, or as it was in the layers below. Links to folders of the usual layout
// ("sbin" is "usr/sbin") are followed by asking for both.
void look_for_init(const fs::path& tree, bool& has_init) {
  for (const char* name : {"sbin/init", "usr/sbin/init", "usr/lib/systemd/systemd", "lib/systemd/systemd", "init"}) {
    const fs::file_status status = fs::symlink_status(tree / name);
    if (fs::is_regular_file(status) || fs::is_symlink(status)) has_init = true;
  }
}

store::Blob make_layer(const fs::path& tree, const fs::path& file, store::Store& store) {
  store::make_erofs(tree, file);
  return store.put_file(file, std::string(store::kErofsLayerType));
}

store::Blob copy_blob(const fs::path& from, const fs::path& work, const std::string& type, store::Store& store) {
  fs::copy_file(from, work / "blob", fs::copy_options::overwrite_existing);
  return store.put_file(work / "blob", type);
}

}  // namespace

Imported import_archive(const host::Path& archive, store::Store& store, const Limits& limits) {
  Imported imported;
  imported.source = source_of_archive(archive);
  const auto work = store.temporary();
  const fs::path tree = work->path() / "tree";
  fs::create_directory(tree);
  unpack(archive, tree, {.limits = limits});
  look_for_init(tree, imported.has_init);
  imported.layers.push_back(make_layer(tree, work->path() / "layer.erofs", store));
  return imported;
}

Imported import_oci(const std::string& reference, const host::Path& folder, store::Store& store, const Limits& limits) {
  return with_context(fmt::format("importing {}", reference), [&] {
    const auto work = store.temporary();
    const Found found = find(reference, folder, work->path());
    const Layout layout(found.layout);
    const LayoutImage image = layout.image(found.tag);
    Imported imported;
    imported.source = image.digest;
    imported.has_init = image.machine;
    if (!image.machine) imported.config = image.config_bytes;
    Folders folders;
    Limits left = limits;
    for (const store::Blob& layer : image.layers) {
      const fs::path file = layout.checked(layer);
      if (layer.media_type == store::kErofsLayerType) {
        imported.layers.push_back(copy_blob(file, work->path(), layer.media_type, store));
        continue;
      }
      if (!is_tar_layer(layer.media_type)) {
        throw Error(ErrorCode::unsupported,
                    fmt::format("the layer {} is of the type {}", layer.digest.str(), layer.media_type),
                    "copy the image by skopeo first: skopeo copy FROM oci:FOLDER:TAG");
      }
      const fs::path tree = work->path() / "tree";
      fs::create_directory(tree);
      const Unpacked unpacked = unpack(file, tree, {.limits = left, .whiteouts = true, .folders = &folders});
      left.bytes -= unpacked.bytes;
      left.entries -= unpacked.entries;
      look_for_init(tree, imported.has_init);
      imported.layers.push_back(make_layer(tree, work->path() / "layer.erofs", store));
      host::remove_tree(tree);
    }
    return imported;
  });
}

Digest source_of_archive(const host::Path& archive) {
  if (!fs::is_regular_file(archive)) {
    throw Error(ErrorCode::usage, fmt::format("there is no archive {}", archive.string()));
  }
  return host::digest_of_file(archive, host::Links::follow);
}

Digest source_of_oci(const std::string& reference, const host::Path& folder, const store::Store& store) {
  const Reference parsed = parse_reference(reference);
  if (parsed.transport == "docker-archive" || parsed.transport == "oci-archive")
    return source_of_archive(folder / parsed.path);
  if (parsed.transport == "oci") return Layout(folder / parsed.path).image(parsed.tag).digest;
  const auto work = store.temporary();
  host::Command command;
  command.argv = {"skopeo", "inspect", "--override-os", "linux", "--override-arch", "amd64", "--raw", reference};
  const host::CommandResult result = host::run(command);
  if (!result.ok()) {
    throw Error(ErrorCode::unavailable,
                fmt::format("skopeo cannot look at {}: {}", reference, last_lines(result.err + result.out, 3)));
  }
  return sha256(result.out);
}

Digest keep_container(const std::string& reference, const host::Path& folder, store::Store& store,
                      const std::string& name) {
  return with_context(fmt::format("importing {}", reference), [&] {
    const auto work = store.temporary();
    const Found found = find(reference, folder, work->path());
    const Layout layout(found.layout);
    const LayoutImage image = layout.image(found.tag);
    copy_blob(layout.checked(image.config), work->path(), image.config.media_type, store);
    for (const store::Blob& layer : image.layers)
      copy_blob(layout.checked(layer), work->path(), layer.media_type, store);
    return store.add_manifest(image.manifest, image.media_type, {{"org.opencontainers.image.ref.name", name}});
  });
}

void require_init(const Imported& image, const std::string& what) {
  if (image.has_init) return;
  throw Error(ErrorCode::usage,
              fmt::format("{} has no init (/sbin/init or systemd): it cannot boot as a machine", what),
              "install one in it (Debian: apt-get install systemd-sysv dbus), or use it as a container");
}

}  // namespace kiln::oci
