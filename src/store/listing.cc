// Listing: a walk in a namespace of its own, and its text: one JSON array a line.
#include "store/listing.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "host/mounts.h"
#include "host/process.h"

namespace kiln::store {
namespace {

using nlohmann::json;

constexpr std::string_view kDpkgStatus = "/var/lib/dpkg/status";
constexpr std::size_t kReadBytes = std::size_t{1} << 20;

Error failed(const std::string& attempted) {
  const int code = errno;
  return {code == EPERM || code == EACCES ? ErrorCode::denied : ErrorCode::io,
          fmt::format("{}: {}", attempted, std::strerror(code)),
          code == EPERM || code == EACCES ? "Reading layers needs root: sudo -E kiln .." : ""};
}

Digest hash_file(const host::Path& path) {
  const host::FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) throw failed("reading " + path.string());
  Sha256 sha;
  std::string buffer(kReadBytes, '\0');
  for (;;) {
    const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
    if (got < 0) throw failed("reading " + path.string());
    if (got == 0) return sha.finish();
    sha.update(std::string_view(buffer).substr(0, static_cast<std::size_t>(got)));
  }
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

class Walk {
 public:
  explicit Walk(host::Path root) : root_(std::move(root)) {}

  Listing run() {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root_)) visit(entry.path());
    return std::move(listing_);
  }

 private:
  void visit(const host::Path& path) {
    const std::string name = "/" + path.lexically_relative(root_).string();
    struct stat info {};
    if (::lstat(path.c_str(), &info) != 0) throw failed("reading " + path.string());
    // overlayfs's way to say "removed".
    if (S_ISCHR(info.st_mode) && info.st_rdev == makedev(0, 0)) {
      listing_.removed.insert(name);
      return;
    }
    ListedFile file{type_of(info.st_mode), info.st_mode & 07777U, info.st_uid, info.st_gid, 0, ""};
    if (file.type == 'f') {
      file.size_bytes = static_cast<std::uint64_t>(info.st_size);
      file.content = hash_file(path).str();
      if (name == kDpkgStatus) listing_.dpkg_status = host::read_file(path);
    } else if (file.type == 'l') {
      file.content = std::filesystem::read_symlink(path).string();
    } else if (file.type == 'd') {
      char value[4] = "";
      if (::lgetxattr(path.c_str(), "trusted.overlay.opaque", value, sizeof value) > 0 && value[0] == 'y') {
        listing_.opaque.insert(name);
      }
    }
    listing_.files.emplace(name, std::move(file));
  }

  host::Path root_;
  Listing listing_;
};

// In the child: the mount is in no other namespace.
Listing list_alone(const host::Path& blob) {
  const host::TemporaryFolder folder("kiln-listing-");
  host::make_mounts_private();
  host::run_checked(
      {"mount", "-t", "erofs", "-o", "ro,loop,nodev,nosuid,noexec", blob.string(), folder.path().string()});
  Listing listing = Walk(folder.path()).run();
  ::umount2(folder.path().c_str(), MNT_DETACH);
  return listing;
}

}  // namespace

std::string write_listing(const Listing& listing) {
  std::string text;
  const auto line = [&](const json& value) {
    text += value.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  };
  for (const auto& [name, file] : listing.files) {
    line({name, std::string(1, file.type), file.mode, file.uid, file.gid, file.size_bytes, file.content});
  }
  for (const std::string& name : listing.removed) line({name, "removed"});
  for (const std::string& name : listing.opaque) line({name, "opaque"});
  if (listing.dpkg_status) line({*listing.dpkg_status, "dpkg"});
  line({"", "end"});  // without it the text was cut
  return text;
}

Listing read_listing(std::string_view text) {
  Listing listing;
  bool ended = false;
  try {
    for (const std::string& row : split(text, '\n')) {
      if (row.empty()) continue;
      const json line = json::parse(row);
      const std::string name = line.at(0), type = line.at(1);
      if (type == "removed") {
        listing.removed.insert(name);
      } else if (type == "opaque") {
        listing.opaque.insert(name);
      } else if (type == "dpkg") {
        listing.dpkg_status = name;
      } else if (type == "end") {
        ended = true;
      } else {
        listing.files[name] = {type.at(0), line.at(2), line.at(3), line.at(4), line.at(5), line.at(6)};
      }
    }
  } catch (const std::exception& error) {
    throw Error(ErrorCode::corrupt, fmt::format("the listing of a layer cannot be read: {}", error.what()));
  }
  if (!ended) throw Error(ErrorCode::corrupt, "the listing of a layer was cut");
  return listing;
}

Listing list_layer(const Store& store, const Digest& layer, const host::Path& kept) {
  const host::Path file = kept / layer.hex();
  if (std::filesystem::exists(file)) {
    try {
      return read_listing(host::read_file(file));
    } catch (const Error& error) {
      if (error.code() != ErrorCode::corrupt && error.code() != ErrorCode::not_found) throw;
    }
  }
  return with_context(fmt::format("reading the layer {}", layer.str()), [&] {
    store.verify(layer);
    if (::geteuid() != 0) {
      throw Error(ErrorCode::denied, "only root can mount a layer", "Run it as root: sudo -E kiln ..");
    }
    const auto work = store.temporary();
    host::Command command;
    // The program by its link, not by its name: it may have been replaced meanwhile.
    command.argv = {"/proc/self/exe", std::string(kListingCommand), store.path_of(layer).string(),
                    (work->path() / "listing").string()};
    command.argv[0] = std::filesystem::read_symlink("/proc/self/exe").string();
    host::run_checked(command);
    const std::string text = host::read_file(work->path() / "listing");
    Listing listing = read_listing(text);
    host::make_folders(kept);
    host::write_file(file, text);
    return listing;
  });
}

int listing_main(int argc, char** argv) {
  try {
    if (argc != 3) throw Error(ErrorCode::usage, "a layer and a file to write");
    host::write_file(argv[2], write_listing(list_alone(argv[1])));
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}

}  // namespace kiln::store
