// Capture: see internal/capture.h.
#include "machine/internal/capture.h"

#include <fmt/format.h>

#include <optional>

#include "base/error.h"
#include "host/process.h"
#include "machine/internal/volume.h"
#include "store/erofs.h"

namespace kiln::machine {
namespace {

namespace fs = std::filesystem;

// Sockets mean nothing without the process that listens, and overlayfs's notes nothing beside another machine's layers.
// Returns the bytes of its files, holes and all.
std::uintmax_t clean(const fs::path& path) {
  store::remove_overlay_notes(path);
  const fs::file_type type = fs::symlink_status(path).type();
  if (type == fs::file_type::regular) return fs::file_size(path) / fs::hard_link_count(path);
  if (type == fs::file_type::socket) fs::remove(path);
  if (type != fs::file_type::directory) return 0;
  std::uintmax_t bytes = 0;
  for (const std::string& name : host::list_folder(path)) bytes += clean(path / name);
  return bytes;
}

}  // namespace

store::Blob put_layer(store::Store& store, const host::Path& work, const host::Path& tree, std::uint64_t bytes_most) {
  // A layer has no holes, and a file of nothing but holes may be larger than the host's disk.
  if (clean(tree) > bytes_most) {
    throw Error(ErrorCode::unsupported,
                fmt::format("its files have more bytes, with their holes, than its disk of {} GiB", bytes_most >> 30),
                "Remove the files that are mostly holes");
  }
  store::make_erofs(tree, work / "layer.erofs");
  return store.put_file(work / "layer.erofs", std::string(store::kErofsLayerType));
}

Digest capture_disk(store::Store& store, const host::Path& folder, const Spec& spec, bool running) {
  if (spec.image.layers.size() >= kLayersMost) {
    throw Error(ErrorCode::unsupported,
                fmt::format("the image of {} has {} layers, and a machine runs from at most {}", spec.id,
                            spec.image.layers.size(), kLayersMost),
                "Bake an image of fewer steps");
  }
  const auto work = store.temporary();
  const fs::path tree = work->path() / "tree";
  fs::create_directory(tree);
  {
    std::optional<FrozenVolume> still;
    if (running) still.emplace(folder);
    // Owners, modes, times, links, attributes, device nodes, holes.
    host::run_checked({"cp", "--archive", (folder / "disk/upper/.").string(), tree.string()});
  }
  for (const char* name : kNoDisk) {
    if (fs::symlink_status(tree / name).type() == fs::file_type::directory) host::remove_tree(tree / name);
  }
  if (fs::is_empty(tree)) return spec.image.digest;
  store::ImageConfig config = spec.image.config;
  config.history.push_back("captured from " + spec.id);
  std::vector<store::Blob> layers = spec.image.layers;
  layers.push_back(put_layer(store, work->path(), tree, spec.disk_gib << 30));
  return store.add_image(config, layers);
}

}  // namespace kiln::machine
