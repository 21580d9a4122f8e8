// Fuzzer: any bytes as a template, an ignore file or a lock file are read or an Error(usage); a mask loses nothing
// else.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "bake/ignore.h"
#include "bake/lock_file.h"
#include "bake/template.h"
#include "base/mask.h"
#include "base/testing/fuzzing.h"

using kiln::testing::value_or_usage;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  value_or_usage([&] { kiln::bake::render_template({.file_name = "t", .text = text}, {{"a", "1"}, {"b.c", "2"}}); });
  value_or_usage([&] {
    const auto lock = kiln::bake::LockFile::parse(text, "kiln.lock");
    if (kiln::bake::LockFile::parse(lock.text(), "kiln.lock").text() != lock.text()) std::abort();
  });
  kiln::bake::Ignore ignore;
  ignore.add_lines(text.substr(0, 200));
  ignore.ignores("a/b/c/d.txt", false);

  std::string out;
  kiln::Mask mask({"secret", "secrets-are-longer"}, [&](std::string_view piece) { out += piece; });
  for (std::size_t at = 0; at < text.size(); at += 3) mask.write(std::string_view(text).substr(at, 3));
  mask.finish();
  if (out.find("secret") != std::string::npos) std::abort();
  return 0;
}
