// AmiWords: what a recipe says of the AMIs that are made of its image. Kept with the image in the catalog, because it
// may be published long after its bake, by another command.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "packer/template.h"

namespace kiln::cli {

struct AmiWords {
  std::string name{};
  std::string description{};
  std::vector<std::string> users{};    // accounts that may launch it
  std::vector<std::string> groups{};   // "all"
  std::vector<std::string> regions{};  // further ones, where copies are made
  bool operator==(const AmiWords&) const = default;
};

AmiWords words_of(const packer::AmiWish& wish, const packer::SourceImage& source);
// As "kiln:ami-.." of an image's metadata; what is empty adds nothing. `take_words` takes them out again.
void keep_words(const AmiWords& words, std::map<std::string, std::string>& metadata);
AmiWords take_words(std::map<std::string, std::string>& metadata);

}  // namespace kiln::cli
