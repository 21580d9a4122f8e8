// Layout: blobs/sha256/<hex>, index.json, oci-layout; https://github.com/opencontainers/image-spec, image-layout.md.
#include "registry/layout.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "registry/internal/ends.h"
#include "store/lease.h"
#include "store/manifest.h"

namespace kiln::registry {
namespace {

constexpr std::string_view kScheme = "oci:";
constexpr const char* kName = "org.opencontainers.image.ref.name";
constexpr std::string_view kLayoutFile = R"({"imageLayoutVersion":"1.0.0"})";

std::string name_of(const store::IndexEntry& entry) {
  const auto found = entry.blob.annotations.find(kName);
  return found == entry.blob.annotations.end() ? std::string() : found->second;
}

std::string small_file(const host::Path& file) {
  std::error_code error;
  const auto size = std::filesystem::file_size(file, error);
  if (!error && size > kDocumentBytesMax) {
    throw Error(ErrorCode::corrupt, fmt::format("{} has more than {}", file.string(), format_bytes(kDocumentBytesMax)));
  }
  return host::read_file(file);
}

// A folder, opened.
class Folder {
 public:
  explicit Folder(const Layout& layout) : layout_(layout) {}

  host::Path blob(const Digest& digest) const { return layout_.folder / "blobs" / "sha256" / digest.hex(); }

  std::vector<store::IndexEntry> index() const {
    const host::Path file = layout_.folder / "index.json";
    if (!std::filesystem::exists(file)) {
      throw Error(ErrorCode::usage,
                  fmt::format("{} is no OCI image layout: it has no index.json", layout_.folder.string()),
                  "Make one with: skopeo copy …, kiln export --oci, or kiln push IMAGE oci:FOLDER");
    }
    return with_context(fmt::format("reading {}", file.string()), [&] { return store::read_index(small_file(file)); });
  }

  Manifest read(const Digest& digest, const std::string& media_type = {}) const {
    std::string bytes = small_file(blob(digest));
    if (const Digest found = sha256(bytes); found != digest) {
      throw Error(ErrorCode::corrupt, fmt::format("{} has the content of {}", blob(digest).string(), found.str()));
    }
    return {std::move(bytes), media_type, digest};
  }

  // The one that is meant by the layout's name.
  Digest root() const {
    std::vector<std::string> names;
    std::vector<Digest> found;
    for (const store::IndexEntry& entry : index()) {
      if (!layout_.name.empty() && name_of(entry) != layout_.name) {
        if (!name_of(entry).empty()) names.push_back(name_of(entry));
        continue;
      }
      // What speaks about an image is not meant when nobody names it.
      if (layout_.name.empty() && !store::read_head(read(entry.blob.digest).bytes).subject.empty()) continue;
      if (std::ranges::find(found, entry.blob.digest) == found.end()) found.push_back(entry.blob.digest);
      names.push_back(name_of(entry));
    }
    if (found.size() == 1) return found.front();
    const std::string all = names.empty() ? "It names none." : "It has: " + join(names, ", ") + ".";
    if (found.empty()) {
      throw Error(ErrorCode::not_found,
                  fmt::format("there is no image {} in {}", layout_.name, layout_.folder.string()), all);
    }
    throw Error(ErrorCode::usage, fmt::format("{} holds {} images", layout_.folder.string(), found.size()),
                fmt::format("Say which: oci:{}:NAME. {}", layout_.folder.string(), all));
  }

  std::vector<Digest> about(const Digest& subject) const {
    std::vector<Digest> digests;
    for (const store::IndexEntry& entry : index()) {
      if (store::read_head(read(entry.blob.digest).bytes).subject == subject) digests.push_back(entry.blob.digest);
    }
    return digests;
  }

  void make() const {
    if (std::filesystem::exists(layout_.folder / "oci-layout")) return;
    if (std::filesystem::exists(layout_.folder) && !std::filesystem::is_empty(layout_.folder)) {
      throw Error(ErrorCode::usage, fmt::format("{} is not empty, and no OCI image layout", layout_.folder.string()),
                  "Name a folder that is not there yet.");
    }
    host::make_folders(layout_.folder / "blobs" / "sha256");
    host::write_file(layout_.folder / "index.json", store::write_index({}));
    host::write_file(layout_.folder / "oci-layout", kLayoutFile);
  }

  bool has(const store::Blob& wanted) const {
    std::error_code error;
    return std::filesystem::file_size(blob(wanted.digest), error) == wanted.size_bytes && !error;
  }

  // Under its name when all of it is there.
  void take(const store::Blob& wanted, const host::Path& file) const {
    host::make_folders(blob(wanted.digest).parent_path());
    const host::TemporaryFolder work(".kiln-", layout_.folder);
    std::filesystem::copy_file(file, work.path() / "blob");
    std::filesystem::rename(work.path() / "blob", blob(wanted.digest));
  }

  void write(const Manifest& manifest, const Document& document, bool root, std::string name) const {
    host::write_file(blob(manifest.digest), manifest.bytes);
    if (!root) return;
    store::IndexEntry entry{
        {manifest.digest, manifest.bytes.size(), document.media_type, {}}, document.artifact_type, {}};
    const bool is_about = !document.subject.digest.empty();
    if (!is_about && !name.empty()) entry.blob.annotations[kName] = std::move(name);
    std::vector<store::IndexEntry> all = index();
    // A name stands for one image; the image that had it before stays there without one.
    for (store::IndexEntry& other : all) {
      if (!is_about && name_of(other) == name_of(entry)) other.blob.annotations.erase(kName);
    }
    std::erase_if(all, [&](const store::IndexEntry& other) {
      return other.blob.digest == manifest.digest && (name_of(other).empty() || name_of(other) == name_of(entry));
    });
    all.push_back(std::move(entry));
    host::write_file(layout_.folder / "index.json", store::write_index(all));
  }

 private:
  const Layout& layout_;
};

void read_from_layout(Ends& ends, const Folder& folder) {
  ends.read = [&folder](const std::string& reference) { return folder.read(Digest::parse(reference)); };
  ends.about = [&folder](const Digest& subject) { return folder.about(subject); };
}

void write_to_layout(Ends& ends, const Folder& folder, const std::string& name) {
  ends.has_manifest = [](const Digest&) { return false; };  // its blobs may be gone, so each is looked for
  ends.write = [&folder, &name](const Manifest& manifest, const Document& document, bool root) {
    folder.write(manifest, document, root, name);
  };
}

}  // namespace

std::string Layout::str() const { return fmt::format("oci:{}{}{}", folder.string(), name.empty() ? "" : ":", name); }

std::optional<Layout> parse_layout(std::string_view text, const host::Path& base) {
  if (!text.starts_with(kScheme)) return std::nullopt;
  const std::string_view rest = text.substr(kScheme.size());
  const std::size_t colon = rest.find(':');
  Layout layout;
  if (rest.empty() || colon == 0) {
    throw Error(ErrorCode::usage, fmt::format("'{}' names no folder", text.substr(0, 300)),
                "Write oci:FOLDER:NAME, for example oci:images:web-1.4.2.");
  }
  layout.folder = base / host::Path(rest.substr(0, colon));
  if (colon != rest.npos) layout.name = rest.substr(colon + 1);
  return layout;
}

Moved push(const Layout& from, Client& client, const Reference& to, const store::Store& store, const Options& options) {
  const Folder folder(from);
  const Waypoints waypoints(store);
  Ends ends;
  read_from_layout(ends, folder);
  ends.move = [&](const store::Blob& blob, const OnBytes& on_bytes) {
    return send(client, to, blob, folder.blob(blob.digest), waypoints, on_bytes);
  };
  write_to_registry(ends, client, to);
  return with_context(fmt::format("pushing {} to {}", from.str(), to.str()),
                      [&] { return transfer(ends, folder.root().str(), options); });
}

Moved pull(Client& client, const Reference& from, const Layout& to, const store::Store& store, const Options& options) {
  const Folder folder(to);
  const Waypoints waypoints(store);
  Ends ends;
  read_from_registry(ends, client, from);
  ends.move = [&](const store::Blob& blob, const OnBytes& on_bytes) {
    if (folder.has(blob)) return Outcome::there;
    host::FileLock lock = waypoints.lock(blob.digest);
    const host::Path file = waypoints.incoming(blob.digest);
    fetch(client, from, blob, file, store, on_bytes);
    folder.take(blob, file);
    std::error_code ignored;
    std::filesystem::remove(file, ignored);
    lock.remove();
    return Outcome::moved;
  };
  write_to_layout(ends, folder, to.name);
  return with_context(fmt::format("pulling {} to {}", from.str(), to.str()), [&] {
    folder.make();
    return transfer(ends, from.manifest(), options);
  });
}

Moved pull(const Layout& from, store::Store& store, const Options& options) {
  const Folder folder(from);
  std::size_t left_out = 0;
  Ends ends;
  read_from_layout(ends, folder);
  ends.move = [&](const store::Blob& blob, const OnBytes& on_bytes) {
    if (renew(store, blob.digest)) return Outcome::there;
    const auto work = store.temporary();
    std::filesystem::copy_file(folder.blob(blob.digest), work->path() / "blob");
    const store::Blob put = store.put_file(work->path() / "blob", blob.media_type);
    if (put.digest != blob.digest) {
      throw Error(ErrorCode::corrupt,
                  fmt::format("{} has the content of {}", folder.blob(blob.digest).string(), put.digest.str()));
    }
    on_bytes(static_cast<std::int64_t>(put.size_bytes));
    return Outcome::moved;
  };
  write_to_store(ends, store, left_out);
  return with_context(fmt::format("pulling {}", from.str()), [&] {
    Moved moved = transfer(ends, folder.root().str(), options);
    moved.referrers_left_out = left_out;
    return moved;
  });
}

Moved push(const store::Store& store, const Digest& root, const Layout& to, const Options& options) {
  const Folder folder(to);
  Ends ends;
  read_from_store(ends, store, options);
  ends.move = [&](const store::Blob& blob, const OnBytes& on_bytes) {
    if (folder.has(blob)) return Outcome::there;
    store.verify(blob.digest);
    folder.take(blob, store.path_of(blob.digest));
    on_bytes(static_cast<std::int64_t>(blob.size_bytes));
    return Outcome::moved;
  };
  write_to_layout(ends, folder, to.name);
  return with_context(fmt::format("pushing {} to {}", root.str(), to.str()), [&] {
    folder.make();
    return transfer(ends, root.str(), options);
  });
}

}  // namespace kiln::registry
