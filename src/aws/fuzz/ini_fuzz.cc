// Fuzzer: any bytes as a shared config file. They are read, or refused with an Error.
#include <cstddef>
#include <cstdint>

#include "aws/ini.h"
#include "base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    kiln::aws::parse_ini({reinterpret_cast<const char*>(data), size}, "fuzz");
  } catch (const kiln::Error&) {
  }
  return 0;
}
