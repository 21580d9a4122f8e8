// Fuzzer: any bytes as an archive are unpacked below the folder or refused, and nothing is written beside it.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>

#include "base/error.h"
#include "host/file.h"
#include "oci/unpack.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace fs = std::filesystem;
  static const kiln::host::TemporaryFolder folder("kiln-unpack-fuzz-");
  const fs::path archive = folder.path() / "a.tar";
  const fs::path root = folder.path() / "in/root";
  fs::create_directories(root);
  kiln::host::write_file(archive, {reinterpret_cast<const char*>(data), size});
  try {
    kiln::oci::unpack(archive, root,
                      {.limits = {.bytes = 1U << 20, .entries = 1000, .ratio = 500, .ratio_from = 1U << 20},
                       .whiteouts = size % 2 == 0,
                       .owners = false});
  } catch (const kiln::Error&) {
  }
  for (const auto& entry : fs::directory_iterator(folder.path() / "in")) {
    if (entry.path().filename() != "root") std::abort();
  }
  fs::permissions(root, fs::perms::owner_all, fs::perm_options::add);
  fs::remove_all(root);
  return 0;
}
