// Fuzzer: any bytes as t.pkr.hcl are a template or an Error(usage), in bounded time and memory.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "packer/template.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  kiln::packer::Outside outside;
  outside.read = [&](const std::string& name) -> std::optional<kiln::packer::HostFile> {
    if (name == "t.pkr.hcl" || name == "f") return kiln::packer::HostFile{text, false};
    return std::nullopt;
  };
  outside.files_below = [](const std::string&) { return std::optional<std::vector<std::string>>{}; };
  outside.environment = [](const std::string&) { return std::string("e"); };
  outside.working = "/w";
  try {
    kiln::packer::read_template({.path = "t.pkr.hcl"}, outside);
  } catch (const kiln::Error& error) {
    if (error.code() != kiln::ErrorCode::usage) std::abort();
  }
  return 0;
}
