// ImageBuilder: EC2 Image Builder's documents as a recipe's steps.
//
// Component documents (schemaVersion 1.0) and image recipes as AWS documents them
// (https://docs.aws.amazon.com/imagebuilder/latest/userguide/toe-use-documents.html). Each phase of a component becomes
// one bash script that does at run time what AWSTOE does: chaining, loops, conditions, retries, failure rules. What is
// not served is an Error(usage) that quotes the line and says the way round. The same documents give the same scripts.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "spec/recipe.h"

namespace kiln::spec {

struct ImageBuilderImage {
  std::optional<Base> base;  // of the recipe's parentImage, when that is an AMI
  // The phases `build` of all components, then their phases `validate`, which change nothing.
  std::vector<Step> steps;
  ImageTest tests;  // the phases `test`, each a script that runs in a booted machine
};

// A file by its path relative to the app's folder, whole; throws Error(not_found).
using FileReader = std::function<std::string(const std::string& path)>;

// `kiln_yaml` and `where` are only quoted. Throws Error(usage), and what `read_file` throws.
ImageBuilderImage read_image_builder(const ImageBuilderSource& source, const Source& kiln_yaml, Location where,
                                     const FileReader& read_file);

}  // namespace kiln::spec
