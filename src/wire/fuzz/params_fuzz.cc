// Fuzzer: any bytes as a request in the ec2 and query protocols.
#include "wire/fuzz/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::string body(reinterpret_cast<const char*>(data) + 1, size - 1);
  kiln::wire::fuzz::check_request(kiln::wire::fuzz::operation_at(false, data[0]), std::move(body));
  return 0;
}
