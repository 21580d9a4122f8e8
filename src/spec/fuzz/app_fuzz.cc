// Fuzzer: any bytes as kiln.yaml are an App or an Error(usage).
#include <cstddef>
#include <cstdint>

#include "base/testing/fuzzing.h"
#include "spec/app.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  kiln::testing::value_or_usage([&] { kiln::spec::parse_app({reinterpret_cast<const char*>(data), size}); });
  return 0;
}
