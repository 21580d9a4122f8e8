// Fuzzer: any bytes as kiln.yaml are an App or an Error(usage).
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "spec/app.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    kiln::spec::parse_app({reinterpret_cast<const char*>(data), size});
  } catch (const kiln::Error& error) {
    if (error.code() != kiln::ErrorCode::usage) std::abort();
  }
  return 0;
}
