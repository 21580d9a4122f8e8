// Sparse file: see internal/sparse_file.h.
#include "machine/internal/sparse_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "machine/internal/fail.h"

namespace kiln::machine {
namespace {

constexpr std::size_t kCopyBytes = std::size_t{1} << 20;

}  // namespace

void copy_sparse(const host::Path& from, const host::Path& to) {
  const host::FileDescriptor in(::open(from.c_str(), O_RDONLY | O_CLOEXEC));
  if (!in) fail("cannot open", from);
  const host::FileDescriptor out(::open(to.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!out) fail("cannot make", to);
  if (::ioctl(out.get(), FICLONE, in.get()) == 0) return;
  struct stat info {};
  if (::fstat(in.get(), &info) != 0 || ::ftruncate(out.get(), info.st_size) != 0) fail("cannot make", to);
  std::vector<char> buffer(kCopyBytes);
  for (off_t data = 0; (data = ::lseek(in.get(), data, SEEK_DATA)) >= 0;) {
    const off_t hole = ::lseek(in.get(), data, SEEK_HOLE);
    while (data < hole) {
      const auto wanted = std::min(buffer.size(), static_cast<std::size_t>(hole - data));
      const ssize_t got = ::pread(in.get(), buffer.data(), wanted, data);
      if (got <= 0) fail("cannot read", from);
      if (::pwrite(out.get(), buffer.data(), static_cast<std::size_t>(got), data) != got) fail("cannot write", to);
      data += got;
    }
  }
}

}  // namespace kiln::machine
