// Fuzzer: any bytes as package database, sums, copyright or versions are read without harm; versions have one order.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "proof/dpkg.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (const kiln::proof::Package& package : kiln::proof::read_dpkg_status(bytes)) {
    if (package.name.empty() || package.version.empty()) std::abort();
  }
  kiln::proof::read_md5sums(bytes);
  kiln::proof::read_licence(bytes);
  const std::string_view a = bytes.substr(0, size / 2), b = bytes.substr(size / 2);
  const int order = kiln::proof::compare_versions(a, b), back = kiln::proof::compare_versions(b, a);
  if ((order < 0) != (back > 0) || (order == 0) != (back == 0)) std::abort();
  if (kiln::proof::compare_versions(a, a) != 0) std::abort();
  return 0;
}
