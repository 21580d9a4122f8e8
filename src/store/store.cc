// Store: the layout on disk.
//
//   oci-layout            {"imageLayoutVersion":"1.0.0"}
//   index.json            the manifests: images, and artifacts about them; changed only under `lock`
//   blobs/sha256/<hex>    written under tmp/, fsynced, renamed; mode 0444
//   tmp/<process>-XXXXXX  work of running processes; <process> is a host::ProcessRef
//   lock
#include "store/store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "base/error.h"
#include "host/clock.h"
#include "host/lock.h"
#include "host/os_error.h"
#include "host/pieces.h"
#include "host/process.h"
#include "store/manifest.h"

namespace kiln::store {
namespace {

constexpr std::string_view kLayoutFile = R"({"imageLayoutVersion":"1.0.0"})";

// What changes whenever a file's content may have changed.
struct Stamp {
  std::string text;
  std::uint64_t size_bytes = 0;
};

Stamp stamp_of(int fd, const host::Path& path) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) throw host::os_error("reading " + path.string(), errno);
  return {fmt::format("{} {} {} {}.{:09} {}.{:09}", info.st_dev, info.st_ino, info.st_size, info.st_mtim.tv_sec,
                      info.st_mtim.tv_nsec, info.st_ctim.tv_sec, info.st_ctim.tv_nsec),
          static_cast<std::uint64_t>(info.st_size)};
}

host::FileDescriptor open_blob(const host::Path& path, const std::string& name) {
  host::FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (fd) return fd;
  if (errno == ENOENT) {
    throw Error(ErrorCode::not_found, fmt::format("the store has no blob {} ({})", name, path.string()),
                "bake the image again: kiln bake");
  }
  throw host::os_error("reading " + path.string(), errno);
}

Error altered(const host::Path& path, const Digest& wanted, const Digest& found) {
  return {ErrorCode::corrupt,
          fmt::format("the blob {} was altered on disk: {} has the content of {}", wanted.str(), path.string(),
                      found.str()),
          fmt::format("remove {} and bake the image again: kiln bake --no-cache", path.string())};
}

void remove_leftovers(const host::Path& tmp) {
  for (const std::string& name : host::list_folder(tmp)) {
    const auto process = host::ProcessRef::parse(name.substr(0, name.find('-')));
    if (process && host::alive(*process)) continue;
    // Another process may be removing the same one.
    try {
      host::remove_tree(tmp / name);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::not_found) throw;
    }
  }
}

}  // namespace

Store::Store(host::Path folder) : folder_(std::filesystem::absolute(folder)) {
  with_context(fmt::format("opening the store {}", folder_.string()), [&] {
    host::make_folders(folder_ / "blobs" / "sha256");
    host::make_folders(folder_ / "tmp");
    const host::SystemClock clock;
    const auto lock = host::FileLock::wait(folder_ / "lock", "opening the store", clock.now());
    if (!std::filesystem::exists(folder_ / "oci-layout")) host::write_file(folder_ / "oci-layout", kLayoutFile);
    if (!std::filesystem::exists(folder_ / "index.json")) host::write_file(folder_ / "index.json", write_index({}));
    remove_leftovers(folder_ / "tmp");
  });
}

bool Store::has(const Digest& digest) const { return std::filesystem::exists(path_of(digest)); }

host::Path Store::path_of(const Digest& digest) const { return folder_ / "blobs" / "sha256" / digest.hex(); }

std::string Store::read(const Digest& digest) const {
  const host::Path path = path_of(digest);
  open_blob(path, digest.str());
  std::string bytes = host::read_file(path);
  if (const Digest found = sha256(bytes); found != digest) throw altered(path, digest, found);
  return bytes;
}

Digest Store::put(std::string_view bytes) {
  const Digest digest = sha256(bytes);
  // Its time is renewed: a sweep lets what is young be.
  if (::utimensat(AT_FDCWD, path_of(digest).c_str(), nullptr, 0) == 0) return digest;
  const auto work = temporary();
  const host::Path file = work->path() / "blob";
  host::write_file(file, bytes, 0444);
  std::filesystem::rename(file, path_of(digest));
  host::fsync_folder(path_of(digest).parent_path());
  return digest;
}

Blob Store::put_file(const host::Path& file, std::string media_type) {
  Blob blob;
  blob.media_type = std::move(media_type);
  {
    const host::FileDescriptor fd = open_blob(file, file.filename().string());
    blob.size_bytes = stamp_of(fd.get(), file).size_bytes;
    blob.digest = host::digest_of_file(fd.get(), file);
    if (::fchmod(fd.get(), 0444) != 0 || ::fsync(fd.get()) != 0)
      throw host::os_error("writing " + file.string(), errno);
  }
  // The same content may be there already; replacing it also heals a blob that was altered.
  std::error_code error;
  std::filesystem::rename(file, path_of(blob.digest), error);
  if (error) {
    throw host::os_error(fmt::format("renaming {} to {}", file.string(), path_of(blob.digest).string()), error.value());
  }
  host::fsync_folder(path_of(blob.digest).parent_path());
  return blob;
}

std::unique_ptr<host::TemporaryFolder> Store::temporary() const {
  return std::make_unique<host::TemporaryFolder>(host::self().str() + "-", folder_ / "tmp");
}

void Store::verify(const Digest& digest) const {
  const host::Path path = path_of(digest);
  const host::FileDescriptor fd = open_blob(path, digest.str());
  const std::string stamp = stamp_of(fd.get(), path).text;
  {
    const std::lock_guard hold(mutex_);
    const auto known = verified_.find(digest);
    if (known != verified_.end() && known->second == stamp) return;
  }
  if (const Digest found = host::digest_of_file(fd.get(), path); found != digest) throw altered(path, digest, found);
  // A write while we read would leave a stamp that is not the one from before.
  if (stamp_of(fd.get(), path).text != stamp) return;
  const std::lock_guard hold(mutex_);
  verified_[digest] = stamp;
}

void Store::verify(const Image& image) const {
  with_context(fmt::format("verifying the image {}", image.digest.str()), [&] {
    verify(image.digest);
    for (const Blob& layer : image.layers) {
      verify(layer.digest);
      if (std::filesystem::file_size(path_of(layer.digest)) != layer.size_bytes) {
        throw Error(ErrorCode::corrupt,
                    fmt::format("the layer {} has another size than the manifest says", layer.digest.str()));
      }
    }
  });
}

void Store::name_in_index(Blob manifest, std::string artifact_type) {
  const host::SystemClock clock;
  const auto lock = host::FileLock::wait(folder_ / "lock", "naming an image", clock.now());
  std::vector<IndexEntry> index = read_index(host::read_file(folder_ / "index.json"));
  const IndexEntry named{std::move(manifest), std::move(artifact_type), {}};
  if (std::ranges::find(index, named) != index.end()) return;
  // A name is one image's: it moves to the newest.
  if (const auto name = named.blob.annotations.find(kRefNameAnnotation); name != named.blob.annotations.end()) {
    for (IndexEntry& entry : index) {
      const auto same = entry.blob.annotations.find(kRefNameAnnotation);
      if (same != entry.blob.annotations.end() && same->second == name->second) entry.blob.annotations.erase(same);
    }
  }
  index.push_back(named);
  host::write_file(folder_ / "index.json", write_index(index));
}

Digest Store::add_image(const ImageConfig& config, const std::vector<Blob>& layers) {
  const std::string config_bytes = write_config(config);
  const Manifest manifest{{put(config_bytes), config_bytes.size(), std::string(kMachineConfigType)}, layers};
  const std::string bytes = write_manifest(manifest);
  const Digest digest = put(bytes);
  name_in_index({digest, bytes.size(), std::string(kManifestType)}, std::string(kMachineArtifactType));
  return digest;
}

Image Store::image(const Digest& digest) const {
  return with_context(fmt::format("reading the image {}", digest.str()), [&] {
    Manifest manifest = read_manifest(read(digest));
    return Image{digest, read_config(read(manifest.config.digest)), std::move(manifest.layers)};
  });
}

ManifestHead Store::head_of(const Digest& manifest) const { return read_head(read(manifest)); }

std::vector<Digest> Store::images() const {
  std::vector<Digest> digests;
  for (const IndexEntry& entry : read_index(host::read_file(folder_ / "index.json"))) {
    // Copying tools leave the entry's type out; the manifest always has it.
    const std::string type = entry.artifact_type.empty() && has(entry.blob.digest)
                                 ? head_of(entry.blob.digest).artifact_type
                                 : entry.artifact_type;
    if (type == kMachineArtifactType) digests.push_back(entry.blob.digest);
  }
  // Another tool's index is in any order, and may name one manifest by two tags.
  std::ranges::sort(digests);
  digests.erase(std::unique(digests.begin(), digests.end()), digests.end());
  return digests;
}

Digest Store::add_artifact(const Digest& subject, std::string artifact_type, const std::vector<Blob>& blobs,
                           const std::map<std::string, std::string>& annotations) {
  KILN_ASSERT(!blobs.empty() && !artifact_type.empty(), "an artifact says something, and of which kind it is");
  return with_context(fmt::format("adding {} to {}", artifact_type, subject.empty() ? "the store" : subject.str()),
                      [&] {
                        Blob about;
                        if (!subject.empty()) {
                          const std::string text = read(subject);
                          about = {subject, text.size(), read_head(text).media_type};
                          if (about.media_type.empty()) about.media_type = kManifestType;
                        }
                        for (const Blob& blob : blobs) open_blob(path_of(blob.digest), blob.digest.str());
                        const std::string bytes = write_artifact({std::move(about), artifact_type, annotations, blobs});
                        put(kEmptyBytes);
                        Blob named{put(bytes), bytes.size(), std::string(kManifestType)};
                        if (!subject.empty()) named.annotations[std::string(kSubjectAnnotation)] = subject.str();
                        const Digest digest = named.digest;
                        name_in_index(std::move(named), std::move(artifact_type));
                        return digest;
                      });
}

std::vector<Artifact> Store::artifacts_of(const Digest& subject) const {
  return with_context(fmt::format("reading what is said about {}", subject.str()), [&] {
    std::vector<Artifact> artifacts;
    for (const IndexEntry& entry : read_index(host::read_file(folder_ / "index.json"))) {
      if (entry.blob.media_type != kManifestType || entry.artifact_type == kMachineArtifactType) continue;
      const auto noted = entry.blob.annotations.find(std::string(kSubjectAnnotation));
      const bool others = noted == entry.blob.annotations.end();
      if (others ? !has(entry.blob.digest) || head_of(entry.blob.digest).subject != subject
                 : noted->second != subject.str()) {
        continue;
      }
      ArtifactManifest artifact = read_artifact(read(entry.blob.digest));
      if (artifact.subject.digest != subject) continue;
      artifacts.push_back({entry.blob.digest, std::move(artifact.artifact_type), std::move(artifact.annotations),
                           std::move(artifact.blobs)});
    }
    std::ranges::sort(artifacts, {}, &Artifact::manifest);
    const auto same = [](const Artifact& a, const Artifact& b) { return a.manifest == b.manifest; };
    artifacts.erase(std::unique(artifacts.begin(), artifacts.end(), same), artifacts.end());
    return artifacts;
  });
}

std::optional<Artifact> Store::artifact(const Digest& manifest) const {
  if (!has(manifest)) return std::nullopt;
  const std::string bytes = read(manifest);
  const ManifestHead head = read_head(bytes);
  if (head.artifact_type.empty() || head.artifact_type == kMachineArtifactType) return std::nullopt;
  ArtifactManifest read = read_artifact(bytes);
  return Artifact{manifest, std::move(read.artifact_type), std::move(read.annotations), std::move(read.blobs)};
}

Digest Store::add_manifest(std::string_view bytes, const std::string& media_type,
                           const std::map<std::string, std::string>& annotations) {
  const ManifestHead head = read_head(bytes);
  Blob named{put(bytes), bytes.size(), media_type, annotations};
  if (!head.subject.empty()) named.annotations[std::string(kSubjectAnnotation)] = head.subject.str();
  const Digest digest = named.digest;
  name_in_index(std::move(named), head.artifact_type);
  return digest;
}

}  // namespace kiln::store
