// Unpack: libarchive reads, openat2 keeps what is written below the folder.
#include "oci/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <exception>
#include <memory>
#include <set>

#include "base/error.h"
#include "host/os_error.h"
#include "oci/locale.h"
#include "oci/packed.h"
#include "store/erofs.h"

namespace kiln::oci {
namespace {

constexpr std::string_view kWhiteout = ".wh.";
constexpr std::string_view kOpaque = ".wh..wh..opq";
constexpr std::size_t kAttributeBytesMax = 64U << 10;

using Reader = std::unique_ptr<archive, int (*)(archive*)>;

Error refused(const std::string& entry, const std::string& why) {
  return {ErrorCode::invalid, fmt::format("the entry '{}' {}", entry, why),
          "nothing was imported; make the archive again without it"};
}

Error failed(const std::string& entry) { return host::os_error(fmt::format("unpacking '{}'", entry), errno); }

// Folder and last part of a name: "usr/lib/a" is {"usr/lib", "a"}.
std::pair<std::string, std::string> parted(const std::string& name) {
  const auto slash = name.rfind('/');
  if (slash == std::string::npos) return {"", name};
  return {name.substr(0, slash), name.substr(slash + 1)};
}

class Unpacker {
 public:
  Unpacker(const host::Path& file, const host::Path& folder, const UnpackOptions& options)
      : options_(options),
        packed_bytes_(std::filesystem::file_size(file)),
        packed_(file),
        reader_(archive_read_new(), &archive_read_free),
        root_(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)) {
    if (!root_) throw failed(folder.string());
    archive_read_support_format_tar(reader_.get());
    archive_read_support_format_empty(reader_.get());
    if (archive_read_open(reader_.get(), this, nullptr, &read_more, nullptr) != ARCHIVE_OK) throw broken();
  }

  Unpacked run() {
    for (;;) {
      if (options_.cancelled && options_.cancelled()) throw Error(ErrorCode::cancelled, "the import was interrupted");
      // What is left of the entry before, with what fills its last block.
      if (done_.entries > 0 && archive_read_data_skip(reader_.get()) < ARCHIVE_WARN) throw broken();
      const la_int64_t end = archive_filter_bytes(reader_.get(), 0);
      archive_entry* entry = nullptr;
      const int got = archive_read_next_header(reader_.get(), &entry);
      if (got == ARCHIVE_EOF) {
        if (options_.must_end && archive_filter_bytes(reader_.get(), 0) == end) throw cut();
        break;
      }
      if (got != ARCHIVE_OK && got != ARCHIVE_WARN) throw broken();
      take(entry);
    }
    if (archive_format(reader_.get()) == ARCHIVE_FORMAT_EMPTY && packed_bytes_ == 0) {
      throw Error(ErrorCode::corrupt, "the archive is an empty file");
    }
    make_whiteouts();
    finish_folders();
    done_.content = packed_.digest();
    done_.folders = std::move(made_);
    return done_;
  }

 private:
  // An exception must not climb through libarchive: it waits in `thrown_`.
  static la_ssize_t read_more(archive* reader, void* self, const void** bytes) {
    auto& unpacker = *static_cast<Unpacker*>(self);
    try {
      const std::string_view piece = unpacker.packed_.next();
      *bytes = piece.data();
      return static_cast<la_ssize_t>(piece.size());
    } catch (...) {
      unpacker.thrown_ = std::current_exception();
      archive_set_error(reader, EIO, "cut off");
      return -1;
    }
  }

  Error broken() const {
    if (thrown_) std::rethrow_exception(thrown_);
    return unreadable(reader_.get());
  }

  Error cut() const {
    return {ErrorCode::corrupt,
            fmt::format("the archive is cut after {} entries: the blocks of zeros are missing that a tar ends with",
                        done_.entries),
            "is it complete? Make it again, or fetch it again"};
  }

  void take(archive_entry* entry) {
    const char* said = archive_entry_pathname(entry);
    if (said == nullptr) throw refused("?", "has a name that cannot be read");
    const std::string name = entry_name(said);
    if (++done_.entries > options_.limits.entries)
      throw refused(name, fmt::format("is one too many: at most {} are unpacked", options_.limits.entries));
    if (name.empty()) {
      if (archive_entry_filetype(entry) != AE_IFDIR) throw refused(said, "is the root, but no folder");
      return note_folder(name, entry);
    }
    const auto [folder, last] = parted(name);
    if (last.starts_with(kWhiteout)) return note_whiteout(name, folder, last);
    const host::FileDescriptor parent = open_folder(folder);
    if (const char* target = archive_entry_hardlink(entry)) return hard_link(name, parent.get(), last, target);
    switch (archive_entry_filetype(entry)) {
      case AE_IFDIR:
        return make_folder(name, parent.get(), last, entry);
      case AE_IFREG:
        return make_file(name, parent.get(), last, entry);
      case AE_IFLNK:
        return make_link(name, parent.get(), last, entry);
      case AE_IFIFO:
        if (::mknodat(parent.get(), last.c_str(), S_IFIFO | 0600, 0) != 0) throw not_made(name);
        return set_attributes(name, parent.get(), last, entry);
      case AE_IFCHR:
      case AE_IFBLK:
        if (name.starts_with("dev/")) return;
        throw refused(name, "is a device node; only those in /dev may be in an archive (and are left out)");
      default:
        throw refused(name, "is neither file, folder, link nor pipe");
    }
  }

  Error not_made(const std::string& name) const {
    if (errno == EEXIST) return refused(name, "comes twice");
    return failed(name);
  }

  // The folder of that name, made with everything above it if it is not there.
  host::FileDescriptor open_folder(const std::string& name) {
    if (name.empty()) return host::FileDescriptor(::openat(root_.get(), ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
    open_how how{};
    how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
    host::FileDescriptor fd(static_cast<int>(::syscall(SYS_openat2, root_.get(), name.c_str(), &how, sizeof how)));
    if (fd) return fd;
    if (errno == ELOOP || errno == EXDEV) throw refused(name, "is a link, and other entries are below it");
    if (errno == ENOTDIR) throw refused(name, "goes through a name that is no folder");
    if (errno != ENOENT) throw failed(name);
    const auto [above, last] = parted(name);
    const host::FileDescriptor parent = open_folder(above);
    if (::mkdirat(parent.get(), last.c_str(), 0700) != 0) throw failed(name);
    FolderAttributes attributes;
    attributes.mtime_seconds = store::kLayerEpochSeconds;
    if (options_.folders != nullptr) {
      if (const auto below = options_.folders->find(name); below != options_.folders->end()) attributes = below->second;
    }
    made_[name] = attributes;
    return open_folder(name);
  }

  // A layer's whiteouts are about the layers below it, wherever they stand in the archive: they are made at its end.
  void note_whiteout(const std::string& name, const std::string& folder, const std::string& last) {
    if (!options_.whiteouts) throw refused(name, "is a layer's whiteout; this archive is taken as a whole root");
    const std::string removed = last.substr(kWhiteout.size());
    const bool opaque = last == kOpaque;
    if (!opaque && (removed.empty() || removed == "." || removed == ".." || removed.starts_with(kWhiteout)))
      throw refused(name, "is no whiteout that is known");
    whiteouts_.insert(opaque ? folder + "/" : folder.empty() ? removed : folder + "/" + removed);
  }

  void make_whiteouts() {
    for (std::string name : whiteouts_) {
      bool opaque = name.ends_with('/');
      if (opaque) name.pop_back();
      const auto [folder, last] = parted(name);
      struct stat info {};
      const host::FileDescriptor parent = open_folder(opaque ? name : folder);
      if (!opaque && ::fstatat(parent.get(), last.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) {
        if (!S_ISDIR(info.st_mode)) continue;  // the layer has a file there itself, which hides what is below
        opaque = true;
      }
      const host::FileDescriptor self = opaque ? open_folder(name) : host::FileDescriptor();
      if (opaque) {
        const std::string path = fmt::format("/proc/self/fd/{}", self.get());
        if (::setxattr(path.c_str(), "trusted.overlay.opaque", "y", 1, 0) != 0) throw failed(name);
        continue;
      }
      if (::mknodat(parent.get(), last.c_str(), S_IFCHR, 0) != 0) throw failed(name);
      set_time(name, parent.get(), last, store::kLayerEpochSeconds, 0);
    }
  }

  void make_folder(const std::string& name, int parent, const std::string& last, archive_entry* entry) {
    if (::mkdirat(parent, last.c_str(), 0700) != 0) {
      struct stat info {};
      if (errno != EEXIST || ::fstatat(parent, last.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) throw failed(name);
      if (!S_ISDIR(info.st_mode)) throw refused(name, "comes twice");
    }
    note_folder(name, entry);
    set_extended(name, parent, last, entry);
  }

  // Mode and time of a folder are set at the end, when nothing is written into it any more.
  void note_folder(const std::string& name, archive_entry* entry) {
    made_[name] = {.mode = static_cast<unsigned>(archive_entry_perm(entry)) & 07777U,
                   .uid = static_cast<std::uint32_t>(archive_entry_uid(entry)),
                   .gid = static_cast<std::uint32_t>(archive_entry_gid(entry)),
                   .mtime_seconds = archive_entry_mtime(entry),
                   .mtime_nanoseconds = archive_entry_mtime_nsec(entry)};
  }

  void make_file(const std::string& name, int parent, const std::string& last, archive_entry* entry) {
    const auto size = static_cast<std::uint64_t>(archive_entry_size(entry));
    if (archive_entry_size(entry) < 0 || size > options_.limits.bytes - std::min(done_.bytes, options_.limits.bytes))
      throw too_big(name);
    {
      const host::FileDescriptor file(
          ::openat(parent, last.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
      if (!file) throw not_made(name);
      write_content(name, file.get(), size);
    }
    done_.bytes += size;
    set_attributes(name, parent, last, entry);
  }

  void write_content(const std::string& name, int file, std::uint64_t size) {
    std::uint64_t end = 0;
    for (;;) {
      const void* bytes = nullptr;
      std::size_t count = 0;
      la_int64_t offset = 0;
      const int got = archive_read_data_block(reader_.get(), &bytes, &count, &offset);
      if (got == ARCHIVE_EOF) break;
      if (got != ARCHIVE_OK && got != ARCHIVE_WARN) throw broken();
      end = static_cast<std::uint64_t>(offset) + count;
      if (offset < 0 || end > size) throw refused(name, "has more content than it says");
      check_ratio(name, done_.bytes + end);
      for (std::size_t written = 0; written < count;) {
        const ssize_t put = ::pwrite(file, static_cast<const char*>(bytes) + written, count - written,
                                     offset + static_cast<la_int64_t>(written));
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) throw failed(name);
        written += static_cast<std::size_t>(put);
      }
    }
    if (end < size && ::ftruncate(file, static_cast<off_t>(size)) != 0) throw failed(name);
  }

  void check_ratio(const std::string& name, std::uint64_t bytes) const {
    if (bytes < options_.limits.ratio_from || bytes / options_.limits.ratio <= packed_bytes_) return;
    throw refused(name, fmt::format("unpacks to more than {} times the size of the archive, as only a zip bomb does",
                                    options_.limits.ratio));
  }

  Error too_big(const std::string& name) const {
    return refused(name, fmt::format("makes the archive larger than {} MiB, the most that is unpacked",
                                     options_.limits.bytes >> 20));
  }

  void make_link(const std::string& name, int parent, const std::string& last, archive_entry* entry) {
    const char* said = archive_entry_symlink(entry);
    const std::string target = said != nullptr ? said : "";
    if (target.empty() || target.size() >= PATH_MAX) throw refused(name, "is a link to nothing");
    // An absolute link is one from the root of the machine. A relative one must not climb above that.
    int depth = 0;
    for (const char c : name) depth += c == '/' ? 1 : 0;
    for (std::size_t at = 0; target.front() != '/' && at < target.size();) {
      const std::size_t end = std::min(target.find('/', at), target.size());
      const std::string part = target.substr(at, end - at);
      depth += part == ".." ? -1 : part.empty() || part == "." ? 0 : 1;
      if (depth < 0) throw refused(name, fmt::format("is a link that leads out of the root: {}", target));
      at = end + 1;
    }
    if (::symlinkat(target.c_str(), parent, last.c_str()) != 0) throw not_made(name);
    set_attributes(name, parent, last, entry);
  }

  void hard_link(const std::string& name, int parent, const std::string& last, const char* said) {
    const std::string target = entry_name(said);
    const auto [folder, target_last] = parted(target);
    if (target.empty()) throw refused(name, "is a link to the root");
    const host::FileDescriptor from = open_folder(folder);
    struct stat info {};
    if (::fstatat(from.get(), target_last.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
      throw refused(name, fmt::format("is a hard link to '{}', which is not in the archive before it", target));
    }
    if (!S_ISREG(info.st_mode) && !S_ISLNK(info.st_mode))
      throw refused(name, fmt::format("is a hard link to '{}', which is no file", target));
    if (::linkat(from.get(), target_last.c_str(), parent, last.c_str(), 0) != 0) throw not_made(name);
  }

  void set_attributes(const std::string& name, int parent, const std::string& last, archive_entry* entry) {
    if (options_.owners && ::fchownat(parent, last.c_str(), static_cast<uid_t>(archive_entry_uid(entry)),
                                      static_cast<gid_t>(archive_entry_gid(entry)), AT_SYMLINK_NOFOLLOW) != 0) {
      throw failed(name);
    }
    const bool link = archive_entry_filetype(entry) == AE_IFLNK;
    // After the owner, whose change takes the set-user-id bit away.
    if (!link && ::fchmodat(parent, last.c_str(), archive_entry_perm(entry) & 07777U, 0) != 0) throw failed(name);
    set_extended(name, parent, last, entry);
    set_time(name, parent, last, archive_entry_mtime(entry), archive_entry_mtime_nsec(entry));
  }

  static void set_time(const std::string& name, int parent, const std::string& last, std::int64_t seconds,
                       long nanoseconds) {
    const timespec time{.tv_sec = seconds, .tv_nsec = nanoseconds};
    const timespec both[2] = {time, time};
    if (::utimensat(parent, last.c_str(), both, AT_SYMLINK_NOFOLLOW) != 0) throw failed(name);
  }

  // Of the attributes only capabilities and users' own mean something on another machine; the others (SELinux labels,
  // ACLs) are left out, and what speaks to overlayfs is refused.
  void set_extended(const std::string& name, int parent, const std::string& last, archive_entry* entry) {
    archive_entry_xattr_reset(entry);
    const char* attribute = nullptr;
    const void* value = nullptr;
    std::size_t size = 0;
    while (archive_entry_xattr_next(entry, &attribute, &value, &size) == ARCHIVE_OK) {
      const std::string_view key(attribute);
      if (key.starts_with("trusted.overlay.") || key.starts_with("user.overlay."))
        throw refused(name, fmt::format("has the attribute {}, which changes how layers merge", key));
      const bool wanted = (key == "security.capability" && options_.owners) || key.starts_with("user.");
      if (!wanted) continue;
      if (size > kAttributeBytesMax) throw refused(name, fmt::format("has an attribute {} of {} bytes", key, size));
      const std::string path = fmt::format("/proc/self/fd/{}/{}", parent, last);
      if (::lsetxattr(path.c_str(), attribute, value, size, 0) != 0 && errno != ENOTSUP) throw failed(name);
    }
  }

  // Deepest first: a name sorts after those of the folders it is in.
  void finish_folders() {
    for (auto at = made_.rbegin(); at != made_.rend(); ++at) {
      const auto& [name, attributes] = *at;
      const auto [above, last] = parted(name);
      const host::FileDescriptor parent = open_folder(above);
      const std::string self = name.empty() ? "." : last;
      if (options_.owners &&
          ::fchownat(parent.get(), self.c_str(), attributes.uid, attributes.gid, AT_SYMLINK_NOFOLLOW) != 0) {
        throw failed(name);
      }
      if (::fchmodat(parent.get(), self.c_str(), attributes.mode, 0) != 0) throw failed(name);
      set_time(name, parent.get(), self, attributes.mtime_seconds, attributes.mtime_nanoseconds);
    }
  }

  const UnpackOptions& options_;
  std::uint64_t packed_bytes_;
  Packed packed_;
  std::exception_ptr thrown_;  // by packed_, inside libarchive
  Reader reader_;
  host::FileDescriptor root_;
  Folders made_;
  std::set<std::string> whiteouts_;  // names that the layers below lose; with '/': all that is in the folder
  Unpacked done_;
};

}  // namespace

std::string entry_name(std::string_view name) {
  const std::string said(name);
  if (name.starts_with('/')) throw refused(said, "has an absolute name");
  if (name.size() >= PATH_MAX) throw refused(said.substr(0, 100) + "...", "has a name that is too long");
  std::string clean;
  while (!name.empty()) {
    const std::string_view part = name.substr(0, name.find('/'));
    name.remove_prefix(std::min(name.size(), part.size() + 1));
    if (part.empty() || part == ".") continue;
    if (part == "..") throw refused(said, "has '..' in its name");
    if (part.size() > NAME_MAX) throw refused(said.substr(0, 100) + "...", "has a name that is too long");
    if (!clean.empty()) clean += '/';
    clean += part;
  }
  return clean;
}

Unpacked unpack(const host::Path& archive, const host::Path& folder, const UnpackOptions& options) {
  if (!std::filesystem::is_regular_file(archive)) {
    throw Error(std::filesystem::exists(archive) ? ErrorCode::usage : ErrorCode::not_found,
                fmt::format("{} is no archive: {}", archive.string(),
                            std::filesystem::exists(archive) ? "not a file" : "it does not exist"));
  }
  return with_context(fmt::format("unpacking {}", archive.string()), [&] {
    const Utf8Names names;
    return Unpacker(archive, folder, options).run();
  });
}

}  // namespace kiln::oci
