// Fuzzer: any bytes as requests. They must read the same whole and a byte at a time.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "http/request_parser.h"

namespace {

std::vector<std::string> read(std::string_view bytes, std::size_t step) {
  using kiln::http::RequestParser;
  RequestParser parser({256, 1024, 4096});
  std::vector<std::string> requests;
  for (std::size_t i = 0; i <= bytes.size(); i += step) {
    auto status = parser.feed(bytes.substr(i, step));
    while (status == RequestParser::Status::ready) {
      kiln::http::Request request = parser.take();
      requests.push_back(request.method + " " + request.path + "?" + request.query + "\n" + request.body);
      status = parser.feed({});
    }
    if (status == RequestParser::Status::failed) {
      requests.push_back("failed");
      break;
    }
  }
  return requests;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (read(bytes, size + 1) != read(bytes, 1)) {
    std::abort();
  }
  return 0;
}
