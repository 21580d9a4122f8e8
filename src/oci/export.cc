// Export: mount a layer, write it as tar, name it in a layout.
#include "oci/export.h"

#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/time.h"
#include "host/os_error.h"
#include "host/pieces.h"
#include "host/process.h"
#include "oci/layout.h"
#include "oci/locale.h"
#include "store/erofs.h"

namespace kiln::oci {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* kManifestType = "application/vnd.oci.image.manifest.v1+json";
constexpr const char* kConfigType = "application/vnd.oci.image.config.v1+json";
constexpr const char* kIndexType = "application/vnd.oci.image.index.v1+json";
constexpr std::string_view kOpaqueAttribute = "trusted.overlay.opaque";

// What the archive's bytes go through: the tar is hashed, then packed by a filter of libarchive's (as a "raw" archive),
// because the digest of both is needed.
class PackedFile {
 public:
  PackedFile(const fs::path& file, Packing packing) : file_(file), packer_(archive_write_new(), &archive_write_free) {
    archive_write_set_format_raw(packer_.get());
    // No time and no name in gzip's header.
    if (packing == Packing::gzip) {
      archive_write_add_filter_gzip(packer_.get());
      check(archive_write_set_filter_option(packer_.get(), "gzip", "timestamp", nullptr));
    }
    if (packing == Packing::zstd) archive_write_add_filter_zstd(packer_.get());
    archive_write_set_bytes_in_last_block(packer_.get(), 1);
    check(archive_write_open_filename(packer_.get(), file.c_str()));
    const std::unique_ptr<archive_entry, void (*)(archive_entry*)> entry(archive_entry_new(), &archive_entry_free);
    archive_entry_set_pathname(entry.get(), "layer");
    archive_entry_set_filetype(entry.get(), AE_IFREG);
    check(archive_write_header(packer_.get(), entry.get()));
  }

  void write(std::string_view bytes) {
    sha_.update(bytes);
    if (archive_write_data(packer_.get(), bytes.data(), bytes.size()) != static_cast<la_ssize_t>(bytes.size()))
      throw failure();
  }

  Digest finish() {
    check(archive_write_close(packer_.get()));
    return sha_.finish();
  }

 private:
  Error failure() const { return host::os_error("writing " + file_.string(), archive_errno(packer_.get())); }
  void check(int status) const {
    if (status != ARCHIVE_OK) throw failure();
  }

  fs::path file_;
  std::unique_ptr<archive, int (*)(archive*)> packer_;
  Sha256 sha_;
};

class Packer {
 public:
  Packer(fs::path folder, PackedFile& out) : folder_(std::move(folder)), out_(out) {
    archive_write_set_format_pax_restricted(tar_.get());
    archive_write_set_bytes_per_block(tar_.get(), 0);
    archive_write_set_bytes_in_last_block(tar_.get(), 1);
    if (archive_write_open2(tar_.get(), this, nullptr, &Packer::take, nullptr, nullptr) != ARCHIVE_OK) throw failure();
  }

  void run() {
    add("");
    if (archive_write_close(tar_.get()) != ARCHIVE_OK) throw failure();
  }

 private:
  static la_ssize_t take(archive*, void* self, const void* bytes, std::size_t size) {
    auto* packer = static_cast<Packer*>(self);
    // No exception may climb through C.
    try {
      packer->out_.write({static_cast<const char*>(bytes), size});
      return static_cast<la_ssize_t>(size);
    } catch (...) {
      packer->out_failure_ = std::current_exception();
      return -1;
    }
  }

  Error failure() const {
    if (out_failure_) std::rethrow_exception(out_failure_);
    const char* why = archive_error_string(tar_.get());
    return {ErrorCode::io, fmt::format("writing the archive of {}: {}", folder_.string(), why != nullptr ? why : "?")};
  }

  static std::string beside(const std::string& name, const std::string& last) {
    const auto slash = name.rfind('/');
    return slash == std::string::npos ? last : name.substr(0, slash + 1) + last;
  }

  // `name` is relative to the root, which is "".
  void add(const std::string& name) {
    const fs::path path = name.empty() ? folder_ : folder_ / name;
    struct stat info {};
    if (::lstat(path.c_str(), &info) != 0) throw host::os_error("reading " + path.string(), errno);
    const std::string last = fs::path(name).filename().string();
    if (S_ISCHR(info.st_mode) && info.st_rdev == 0) return add_mark(beside(name, ".wh." + last));
    if (S_ISSOCK(info.st_mode)) return;  // tar has no sockets, and one without its listener is nothing
    const Entry entry(archive_entry_new(), &archive_entry_free);
    archive_entry_copy_stat(entry.get(), &info);
    archive_entry_unset_atime(entry.get());
    archive_entry_unset_ctime(entry.get());
    archive_entry_unset_birthtime(entry.get());
    archive_entry_set_dev(entry.get(), 0);
    archive_entry_set_ino(entry.get(), 0);
    archive_entry_set_nlink(entry.get(), 1);
    archive_entry_set_pathname(entry.get(), name.empty()            ? "./"
                                            : S_ISDIR(info.st_mode) ? (name + "/").c_str()
                                                                    : name.c_str());
    if (S_ISLNK(info.st_mode)) archive_entry_set_symlink(entry.get(), fs::read_symlink(path).c_str());
    if (S_ISREG(info.st_mode) && info.st_nlink > 1) {
      const auto [first, is_first] = linked_.try_emplace(info.st_ino, name);
      if (!is_first) {
        archive_entry_set_hardlink(entry.get(), first->second.c_str());
        archive_entry_set_size(entry.get(), 0);
        return header(entry.get());
      }
    }
    add_attributes(path, entry.get());
    header(entry.get());
    if (S_ISREG(info.st_mode)) add_content(path, static_cast<std::uint64_t>(info.st_size));
    if (!S_ISDIR(info.st_mode)) return;
    if (is_opaque(path)) add_mark(name.empty() ? ".wh..wh..opq" : name + "/.wh..wh..opq");
    for (const std::string& child : host::list_folder(path)) add(name.empty() ? child : name + "/" + child);
  }

  static bool is_opaque(const fs::path& path) {
    char value = 0;
    return ::lgetxattr(path.c_str(), kOpaqueAttribute.data(), &value, 1) == 1 && value == 'y';
  }

  void add_mark(const std::string& name) {
    const Entry entry(archive_entry_new(), &archive_entry_free);
    archive_entry_set_pathname(entry.get(), name.c_str());
    archive_entry_set_filetype(entry.get(), AE_IFREG);
    archive_entry_set_perm(entry.get(), 0644);
    archive_entry_set_mtime(entry.get(), store::kLayerEpochSeconds, 0);
    archive_entry_set_size(entry.get(), 0);
    header(entry.get());
  }

  static void add_attributes(const fs::path& path, archive_entry* entry) {
    std::array<char, 1 << 16> value;
    const ssize_t size = ::lgetxattr(path.c_str(), "security.capability", value.data(), value.size());
    if (size > 0)
      archive_entry_xattr_add_entry(entry, "security.capability", value.data(), static_cast<std::size_t>(size));
  }

  void add_content(const fs::path& path, std::uint64_t size) {
    std::uint64_t done = 0;
    host::read_pieces(path, host::Links::refuse, [&](std::string_view piece) {
      if (archive_write_data(tar_.get(), piece.data(), piece.size()) < 0) throw failure();
      done += piece.size();
    });
    if (done < size) throw Error(ErrorCode::io, fmt::format("{} became shorter", path.string()));
  }

  void header(archive_entry* entry) {
    // A warning is about a name that is no UTF-8: then the header says so, and the bytes are kept.
    const int written = archive_write_header(tar_.get(), entry);
    if (written != ARCHIVE_OK && written != ARCHIVE_WARN) throw failure();
  }

  using Entry = std::unique_ptr<archive_entry, void (*)(archive_entry*)>;

  fs::path folder_;
  PackedFile& out_;
  std::exception_ptr out_failure_;
  std::unique_ptr<archive, int (*)(archive*)> tar_{archive_write_new(), &archive_write_free};
  std::map<ino_t, std::string> linked_;
};

const char* layer_type(Packing packing) {
  switch (packing) {
    case Packing::none:
      return "application/vnd.oci.image.layer.v1.tar";
    case Packing::gzip:
      return "application/vnd.oci.image.layer.v1.tar+gzip";
    case Packing::zstd:
      return "application/vnd.oci.image.layer.v1.tar+zstd";
  }
  return "";
}

class LayoutWriter {
 public:
  explicit LayoutWriter(fs::path folder) : folder_(std::move(folder)) {
    host::make_folders(folder_ / "blobs/sha256");
    host::write_file(folder_ / "oci-layout", R"({"imageLayoutVersion":"1.0.0"})");
  }

  // Takes the file over.
  store::Blob add_file(const fs::path& file, const std::string& type) {
    store::Blob blob{host::digest_of_file(file, host::Links::refuse), fs::file_size(file), type};
    fs::rename(file, folder_ / "blobs/sha256" / blob.digest.hex());
    bytes_ += blob.size_bytes;
    return blob;
  }

  store::Blob add(const std::string& bytes, const std::string& type) {
    const Digest digest = sha256(bytes);
    host::write_file(folder_ / "blobs/sha256" / digest.hex(), bytes);
    bytes_ += bytes.size();
    return {digest, bytes.size(), type};
  }

  void name(const store::Blob& manifest, const std::string& tag) const {
    Json entry = {{"mediaType", manifest.media_type}, {"digest", manifest.digest.str()}, {"size", manifest.size_bytes}};
    if (!tag.empty()) entry["annotations"] = {{"org.opencontainers.image.ref.name", tag}};
    entry["platform"] = {{"architecture", "amd64"}, {"os", "linux"}};
    host::write_file(folder_ / "index.json",
                     Json{{"schemaVersion", 2}, {"mediaType", kIndexType}, {"manifests", Json::array({entry})}}.dump());
  }

  std::uint64_t bytes() const { return bytes_; }

 private:
  fs::path folder_;
  std::uint64_t bytes_ = 0;
};

Json descriptor(const store::Blob& blob) {
  return {{"mediaType", blob.media_type}, {"digest", blob.digest.str()}, {"size", blob.size_bytes}};
}

// One layer of a machine, as a tar layer of `out`; its tar's own digest in `plain`.
store::Blob convert(const store::Store& store, const Digest& layer, const fs::path& work, Packing packing,
                    LayoutWriter& out, Digest& plain) {
  const fs::path file = work / "layer.tar";
  store.verify(layer);
  store::look_into_layer(store.path_of(layer), work,
                         [&](const host::Path& root) { plain = pack(root, file, packing); });
  return out.add_file(file, layer_type(packing));
}

store::Blob write_machine(const store::Store& store, const store::Image& image, const fs::path& work,
                          const ExportOptions& options, LayoutWriter& out) {
  if (::geteuid() != 0)
    throw Error(ErrorCode::denied, "exporting needs root: it mounts the layers", "run it again with sudo");
  const std::string created = format_iso8601(Time(std::chrono::seconds(store::kLayerEpochSeconds)));
  Json layers = Json::array();
  Json diffs = Json::array();
  Json history = Json::array();
  for (std::size_t i = 0; i < image.layers.size(); ++i) {
    Digest plain;
    layers.push_back(descriptor(convert(store, image.layers[i].digest, work, options.packing, out, plain)));
    diffs.push_back(plain.str());
    history.push_back(
        {{"created", created}, {"created_by", i < image.config.history.size() ? image.config.history[i] : "kiln"}});
  }
  Json process = options.process.empty() ? Json{{"Cmd", Json::array({"/sbin/init"})}, {"StopSignal", "SIGRTMIN+3"}}
                                         : Json::parse(options.process);
  process["Labels"]["io.kiln.app"] = image.config.app;
  process["Labels"]["io.kiln.image"] = image.digest.str();
  const Json config = {{"architecture", "amd64"},
                       {"os", "linux"},
                       {"created", created},
                       {"config", process},
                       {"rootfs", {{"type", "layers"}, {"diff_ids", diffs}}},
                       {"history", history}};
  const store::Blob config_blob = out.add(config.dump(), kConfigType);
  const Json manifest = {
      {"schemaVersion", 2}, {"mediaType", kManifestType}, {"config", descriptor(config_blob)}, {"layers", layers}};
  return out.add(manifest.dump(), kManifestType);
}

store::Blob copy_container(const store::Store& store, const Digest& digest, const fs::path& work, LayoutWriter& out) {
  const std::string bytes = store.read(digest);
  Json manifest;
  try {
    manifest = Json::parse(bytes);
    std::vector<Json> blobs = manifest.at("layers").get<std::vector<Json>>();
    blobs.push_back(manifest.at("config"));
    for (const Json& blob : blobs) {
      const Digest part = Digest::parse(blob.at("digest").get<std::string>());
      store.verify(part);
      fs::copy_file(store.path_of(part), work / "blob", fs::copy_options::overwrite_existing);
      out.add_file(work / "blob", blob.at("mediaType").get<std::string>());
    }
  } catch (const Json::exception& error) {
    throw Error(ErrorCode::corrupt, fmt::format("the manifest {}: {}", digest.str(), error.what()));
  }
  return out.add(bytes, manifest.value("mediaType", std::string(kManifestType)));
}

bool is_machine(const store::Store& store, const Digest& digest) {
  for (const Digest& one : store.images()) {
    if (one == digest) return true;
  }
  return false;
}

}  // namespace

Digest pack(const host::Path& folder, const host::Path& archive, Packing packing) {
  return with_context(fmt::format("packing {}", folder.string()), [&] {
    const Utf8Names names;
    PackedFile out(archive, packing);
    Packer(folder, out).run();
    return out.finish();
  });
}

Exported export_image(const store::Store& store, const Digest& image, const host::Path& destination,
                      const ExportOptions& options) {
  return with_context(fmt::format("exporting {} to {}", image.short_str(), destination.string()), [&] {
    if (fs::exists(fs::symlink_status(destination))) {
      throw Error(ErrorCode::already_exists, fmt::format("{} is there already", destination.string()),
                  "remove it, or export to another name");
    }
    const fs::path beside = fs::absolute(destination).parent_path();
    if (!fs::is_directory(beside)) {
      throw Error(ErrorCode::usage, fmt::format("there is no folder {}", beside.string()), "make it first");
    }
    const host::TemporaryFolder work(".kiln-export-", beside);
    const fs::path layout = work.path() / "layout";
    LayoutWriter out(layout);
    const store::Blob manifest = is_machine(store, image)
                                     ? write_machine(store, store.image(image), work.path(), options, out)
                                     : copy_container(store, image, work.path(), out);
    out.name(manifest, options.name);
    fs::path made = layout;
    if (destination.extension() == ".tar") {
      made = work.path() / "layout.tar";
      pack(layout, made, Packing::none);
    }
    fs::rename(made, destination);
    host::fsync_folder(beside);
    return Exported{manifest.digest, out.bytes()};
  });
}

}  // namespace kiln::oci
