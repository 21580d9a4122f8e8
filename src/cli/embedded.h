// Embedded: files that the program carries inside: help pages and the example app. Made by tools/embed.py at build
// time.
#pragma once

#include <string_view>
#include <vector>

namespace kiln::cli {

struct EmbeddedFile {
  std::string_view name;  // "bake"; "site/index.html"
  std::string_view text;
};

const std::vector<EmbeddedFile>& help_pages();
const std::vector<EmbeddedFile>& example_app();

}  // namespace kiln::cli
