// Layer: one walk that hashes each file, and its text: records of fields that end with NUL, which no path can hold.
#include "proof/layer.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <cerrno>
#include <cstring>
#include <limits>
#include <optional>

#include "base/error.h"
#include "base/text.h"
#include "host/os_error.h"
#include "host/pieces.h"
#include "proof/dpkg.h"
#include "proof/hash.h"
#include "store/erofs.h"

namespace kiln::proof {
namespace {

// Changes when what is kept of a layer does.
constexpr std::string_view kFormat = "kiln-layer-2";
constexpr std::size_t kLayerTextBytesMax = std::size_t{512} << 20;

void hash_file(const host::Path& path, FileRecord& record) {
  Hash md5(EVP_md5()), sha1(EVP_sha1()), sha256(EVP_sha256());
  host::read_pieces(path, host::Links::refuse, [&](std::string_view piece) {
    for (Hash* hash : {&md5, &sha1, &sha256}) hash->update(piece);
    record.size_bytes += piece.size();
  });
  record.md5 = md5.hex();
  record.sha1 = sha1.hex();
  record.sha256 = sha256.hex();
}

char type_of(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return 'f';
    case S_IFDIR:
      return 'd';
    case S_IFLNK:
      return 'l';
    case S_IFCHR:
      return 'c';
    case S_IFBLK:
      return 'b';
    case S_IFIFO:
      return 'p';
    default:
      return 's';
  }
}

bool is_text_of_interest(std::string_view path) {
  if (path == kDpkgStatus || path == "/etc/os-release" || path == "/usr/lib/os-release") return true;
  return path.starts_with("/var/lib/dpkg/info/") && (path.ends_with(".list") || path.ends_with(".md5sums"));
}

bool is_copyright(std::string_view path) { return path.starts_with("/usr/share/doc/") && path.ends_with("/copyright"); }

class Walk {
 public:
  explicit Walk(const host::Path& root) : root_(root) { folder(""); }
  LayerContents contents;

 private:
  void folder(const std::string& path) {
    for (const std::string& name : host::list_folder(at(path))) entry(path + "/" + name);
  }

  void entry(const std::string& path) {
    struct stat info {};
    if (::lstat(at(path).c_str(), &info) != 0) throw host::os_error("reading " + at(path).string(), errno);
    // overlayfs's way to say "removed".
    if (S_ISCHR(info.st_mode) && info.st_rdev == ::makedev(0, 0)) {
      contents.removed.insert(path);
      return;
    }
    FileRecord& record = contents.files[path];
    record.type = type_of(info.st_mode);
    record.mode = info.st_mode & 07777U;
    record.uid = info.st_uid;
    record.gid = info.st_gid;
    if (record.type == 'f') {
      hash_file(at(path), record);
      if (is_text_of_interest(path)) contents.texts[path] = host::read_file(at(path));
      if (is_copyright(path)) contents.texts[path] = read_licence(host::read_file(at(path)));
    } else if (record.type == 'l') {
      record.target = std::filesystem::read_symlink(at(path)).string();
    } else if (record.type == 'd') {
      char value = 0;
      if (::lgetxattr(at(path).c_str(), "trusted.overlay.opaque", &value, 1) == 1 && value == 'y')
        contents.opaque.insert(path);
      folder(path);
    }
  }

  host::Path at(const std::string& path) const { return root_.string() + path; }

  host::Path root_;
};

// Reads the fields one after another.
class Fields {
 public:
  explicit Fields(std::string_view text) : rest_(text) {}

  std::string_view next() {
    const std::size_t end = rest_.find('\0');
    if (end == std::string_view::npos) throw Error(ErrorCode::corrupt, "what is kept of a layer was cut");
    return take(end);
  }
  template <typename Number>
  Number number() {
    const std::string_view field = next();
    const std::optional<std::int64_t> value = parse_int(field);
    if (!value || *value < 0 || static_cast<std::uint64_t>(*value) > std::numeric_limits<Number>::max())
      throw Error(ErrorCode::corrupt, fmt::format("what is kept of a layer has '{}' for a number", field));
    return static_cast<Number>(*value);
  }
  std::string_view bytes(std::size_t size) {
    if (size >= rest_.size() || rest_[size] != '\0') throw Error(ErrorCode::corrupt, "what is kept of a layer was cut");
    return take(size);
  }
  bool empty() const { return rest_.empty(); }

 private:
  std::string_view take(std::size_t size) {
    const std::string_view field = rest_.substr(0, size);
    rest_.remove_prefix(size + 1);
    return field;
  }

  std::string_view rest_;
};

FileRecord record_of(Fields& fields) {
  FileRecord record;
  const std::string_view type = fields.next();
  if (type.size() != 1) throw Error(ErrorCode::corrupt, "what is kept of a layer has a file of no type");
  record.type = type[0];
  record.mode = fields.number<unsigned>();
  record.uid = fields.number<std::uint32_t>();
  record.gid = fields.number<std::uint32_t>();
  record.size_bytes = fields.number<std::uint64_t>();
  record.md5 = fields.next();
  record.sha1 = fields.next();
  record.sha256 = fields.next();
  record.target = fields.next();
  return record;
}

}  // namespace

LayerContents read_layer(const host::Path& root) { return std::move(Walk(root).contents); }

std::string write_layer(const LayerContents& contents) {
  std::string text;
  const auto field = [&](std::string_view value) { text.append(value).push_back('\0'); };
  field(kFormat);
  for (const auto& [path, file] : contents.files) {
    field("file");
    field(path);
    field(std::string_view(&file.type, 1));
    for (const std::uint64_t number :
         {std::uint64_t{file.mode}, std::uint64_t{file.uid}, std::uint64_t{file.gid}, std::uint64_t{file.size_bytes}})
      field(std::to_string(number));
    for (const std::string& digest : {file.md5, file.sha1, file.sha256, file.target}) field(digest);
  }
  for (const auto& [kind, paths] : {std::pair{"removed", &contents.removed}, std::pair{"opaque", &contents.opaque}}) {
    for (const std::string& path : *paths) {
      field(kind);
      field(path);
    }
  }
  for (const auto& [path, content] : contents.texts) {
    field("text");
    field(path);
    field(std::to_string(content.size()));
    field(content);  // it may hold NULs, which is why its size goes before it
  }
  field("end");
  return text;
}

LayerContents parse_layer(std::string_view text) {
  if (text.size() > kLayerTextBytesMax) throw Error(ErrorCode::corrupt, "what is kept of a layer is too long");
  Fields fields(text);
  if (fields.next() != kFormat) throw Error(ErrorCode::corrupt, "what is kept of a layer is in another format");
  LayerContents contents;
  for (;;) {
    const std::string_view kind = fields.next();
    if (kind == "file") {
      std::string path(fields.next());
      contents.files.emplace_hint(contents.files.end(), std::move(path), record_of(fields));  // they come sorted
    } else if (kind == "removed") {
      contents.removed.emplace(fields.next());
    } else if (kind == "opaque") {
      contents.opaque.emplace(fields.next());
    } else if (kind == "text") {
      const std::string_view path = fields.next();
      contents.texts[std::string(path)] = fields.bytes(fields.number<std::size_t>());
    } else if (kind == "end" && fields.empty()) {
      return contents;
    } else {
      throw Error(ErrorCode::corrupt, fmt::format("what is kept of a layer has '{}' where none may be", kind));
    }
  }
}

LayerContents layer_contents(const store::Store& store, const Digest& layer, const host::Path& kept) {
  const host::Path file = kept / layer.hex();
  if (std::filesystem::exists(file)) {
    try {
      return parse_layer(host::read_file(file));
    } catch (const Error& error) {
      // It was cut, or deleted meanwhile: the layer can be read again.
      if (error.code() != ErrorCode::corrupt && error.code() != ErrorCode::not_found) throw;
    }
  }
  return with_context(fmt::format("reading the layer {}", layer.str()), [&] {
    store.verify(layer);
    const auto work = store.temporary();
    LayerContents contents;
    store::look_into_layer(store.path_of(layer), work->path(),
                           [&](const host::Path& root) { contents = read_layer(root); });
    host::make_folders(kept);
    host::write_file(file, write_layer(contents));
    return contents;
  });
}

}  // namespace kiln::proof
