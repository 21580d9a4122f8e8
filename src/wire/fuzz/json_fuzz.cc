// Fuzzer: any bytes as a request and as an answer in the json protocol.
#include "wire/fuzz/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::string body(reinterpret_cast<const char*>(data) + 1, size - 1);
  const kiln::wire::Operation& operation = kiln::wire::fuzz::operation_at(true, data[0]);
  kiln::wire::fuzz::check_request(operation, body);
  kiln::wire::fuzz::check_response(operation, std::move(body));
  return 0;
}
