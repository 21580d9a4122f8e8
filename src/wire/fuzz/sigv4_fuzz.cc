// Fuzzer: any request through the signature's check. It must end in an answer, and accept nothing that was not signed.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/text.h"
#include "wire/sigv4.h"

// Input: path, query, Authorization, X-Amz-Date, X-Amz-Security-Token and body, one a line.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<std::string> lines = kiln::split({reinterpret_cast<const char*>(data), size}, '\n');
  lines.resize(6);
  kiln::http::Request request;
  request.path = lines[0];
  request.query = lines[1];
  request.headers.add("Host", "localhost");
  if (!lines[2].empty()) {
    request.headers.add("Authorization", lines[2]);
  }
  request.headers.add("X-Amz-Date", lines[3]);
  request.headers.add("X-Amz-Security-Token", lines[4]);
  request.body = lines[5];
  kiln::wire::Verifier verifier([](const std::string&) {
    // No input can hold a signature by this secret.
    return kiln::wire::Secret{"0c6b2f5c1d", "", std::nullopt};
  });
  kiln::wire::claimed_scope(request);
  auto result = verifier.verify(request, kiln::parse_basic_iso8601("20150830T123600Z"));
  if (std::holds_alternative<kiln::wire::Verified>(result)) {
    std::abort();
  }
  return 0;
}
