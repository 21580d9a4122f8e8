// Pieces: open, read, read again.
#include "host/pieces.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "host/os_error.h"

namespace kiln::host {
namespace {

FileDescriptor open_to_read(const Path& path, Links links) {
  FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | (links == Links::refuse ? O_NOFOLLOW : 0)));
  if (!fd) throw os_error("reading " + path.string(), errno);
  return fd;
}

void read_all(int fd, const Path& path, const UsePiece& use) {
  std::array<char, 1 << 16> buffer;  // on the stack and not cleared: most files are small
  for (;;) {
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw os_error("reading " + path.string(), errno);
    if (got == 0) return;
    use({buffer.data(), static_cast<std::size_t>(got)});
  }
}

}  // namespace

void read_pieces(const Path& path, Links links, const UsePiece& use) {
  read_all(open_to_read(path, links).get(), path, use);
}

Digest digest_of_file(const Path& path, Links links) { return digest_of_file(open_to_read(path, links).get(), path); }

Digest digest_of_file(int fd, const Path& path) {
  Sha256 sha;
  read_all(fd, path, [&](std::string_view piece) { sha.update(piece); });
  return sha.finish();
}

}  // namespace kiln::host
