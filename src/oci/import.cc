// Import: find the image, check its blobs, unpack each layer, make erofs of it.
#include "oci/import.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "base/text.h"
#include "host/pieces.h"
#include "host/process.h"
#include "oci/layer_memory.h"
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

Found find(const std::string& text, const fs::path& folder, const fs::path& work,
           const std::function<bool()>& cancelled = {}) {
  const Reference reference = parse_reference(text);
  if (reference.transport == "oci") return {folder / reference.path, reference.tag};
  const fs::path layout = work / "layout";
  if (reference.transport == "oci-archive") {
    fs::create_directory(layout);
    unpack(folder / reference.path, layout, {.owners = false, .cancelled = cancelled});
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
  command.cancelled = cancelled;
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

// Links to folders of the usual layout ("sbin" is "usr/sbin") are followed by asking for both.
bool has_init(const fs::path& tree) {
  for (const char* name : {"sbin/init", "usr/sbin/init", "usr/lib/systemd/systemd", "lib/systemd/systemd", "init"}) {
    const fs::file_status status = fs::symlink_status(tree / name);
    if (fs::is_regular_file(status) || fs::is_symlink(status)) return true;
  }
  return false;
}

store::Blob make_layer(const fs::path& tree, const fs::path& file, store::Store& store) {
  store::make_erofs(tree, file);
  return store.put_file(file, std::string(store::kErofsLayerType));
}

store::Blob copy_blob(const fs::path& from, const fs::path& work, const std::string& type, store::Store& store) {
  fs::copy_file(from, work / "blob", fs::copy_options::overwrite_existing);
  return store.put_file(work / "blob", type);
}

// The layers of one image, lowest first: each taken from the memory, or unpacked.
class LayerImport {
 public:
  LayerImport(const Layout& layout, const LayoutImage& image, const fs::path& work, store::Store& store,
              const ImportOptions& options)
      : layout_(layout),
        image_(image),
        work_(work),
        store_(store),
        options_(options),
        left_(options.limits),
        memory_(options.memory, store) {}

  bool has_init() const { return has_init_; }

  store::Blob take(std::size_t index) {
    const store::Blob& layer = image_.layers[index];
    if (layer.media_type == store::kErofsLayerType)
      return copy_blob(layout_.checked(layer), work_, layer.media_type, store_);
    if (!is_tar_layer(layer.media_type)) {
      throw Error(ErrorCode::unsupported,
                  fmt::format("the layer {} is of the type {}", layer.digest.str(), layer.media_type),
                  "copy the image by skopeo first: skopeo copy FROM oci:FOLDER:TAG");
    }
    key_ = LayerMemory::key(key_, layer.digest);
    auto known = memory_.find(key_);
    if (!known) {
      known = unpack_layer(index);
      memory_.put(key_, *known);
    }
    const Unpacked& size = known->unpacked;
    check_content(index, size.content);
    left_.bytes -= std::min(left_.bytes, size.bytes);
    left_.entries -= std::min(left_.entries, size.entries);
    for (const auto& [name, attributes] : size.folders) folders_[name] = attributes;
    has_init_ = has_init_ || known->has_init;
    return known->blob;
  }

 private:
  KnownLayer unpack_layer(std::size_t index) const {
    const fs::path tree = work_ / "tree";
    fs::create_directory(tree);
    KnownLayer made;
    made.unpacked = unpack(layout_.checked(image_.layers[index]), tree,
                           {.limits = left_, .whiteouts = true, .folders = &folders_, .cancelled = options_.cancelled});
    check_content(index, made.unpacked.content);
    made.has_init = oci::has_init(tree);
    made.blob = make_layer(tree, work_ / "layer.erofs", store_);
    host::remove_tree(tree);
    return made;
  }

  void check_content(std::size_t index, const Digest& content) const {
    if (image_.diff_ids.empty() || image_.diff_ids[index] == content) return;
    throw Error(ErrorCode::corrupt,
                fmt::format("the layer {} unpacks to {}, and the image's config names {}",
                            image_.layers[index].digest.str(), content.str(), image_.diff_ids[index].str()),
                "the image is not what its config says: build or fetch it again");
  }

  const Layout& layout_;
  const LayoutImage& image_;
  fs::path work_;
  store::Store& store_;
  const ImportOptions& options_;
  Limits left_;
  LayerMemory memory_;
  Digest key_;
  Folders folders_;
  bool has_init_ = false;
};

}  // namespace

Imported import_archive(const host::Path& archive, store::Store& store, const ImportOptions& options) {
  Imported imported;
  imported.source = source_of_archive(archive);
  const auto work = store.temporary();
  const fs::path tree = work->path() / "tree";
  fs::create_directory(tree);
  unpack(archive, tree, {.limits = options.limits, .must_end = true, .cancelled = options.cancelled});
  imported.has_init = has_init(tree);
  imported.layers.push_back(make_layer(tree, work->path() / "layer.erofs", store));
  return imported;
}

Imported import_oci(const std::string& reference, const host::Path& folder, store::Store& store,
                    const ImportOptions& options) {
  return with_context(fmt::format("importing {}", reference), [&] {
    const auto work = store.temporary();
    const Found found = find(reference, folder, work->path(), options.cancelled);
    const Layout layout(found.layout);
    const LayoutImage image = layout.image(found.tag);
    LayerImport layers(layout, image, work->path(), store, options);
    Imported imported;
    imported.source = image.digest;
    imported.has_init = image.machine;
    if (!image.machine) imported.config = image.config_bytes;
    for (std::size_t i = 0; i < image.layers.size(); ++i) imported.layers.push_back(layers.take(i));
    imported.has_init = imported.has_init || layers.has_init();
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
