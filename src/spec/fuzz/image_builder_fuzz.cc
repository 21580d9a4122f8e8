// Fuzzer: any text as a component or a recipe becomes steps, the same ones twice, or an Error(usage).
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "base/error.h"
#include "spec/image_builder/image_builder.h"

namespace {

std::string scripts_of(const std::string& text, bool recipe) {
  kiln::spec::ImageBuilderSource source;
  if (recipe) {
    source.recipe = "recipe.json";
  } else {
    source.components = {"component.yaml"};
  }
  std::string all;
  try {
    const auto image =
        kiln::spec::read_image_builder(source, {"kiln.yaml", ""}, {}, [&](const std::string&) { return text; });
    for (const kiln::spec::Step& step : image.steps) {
      for (const auto& file : std::get<kiln::spec::RunStep>(step.action).files) all += file.content;
    }
  } catch (const kiln::Error& error) {
    if (error.code() != kiln::ErrorCode::usage) std::abort();
  }
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  for (const bool recipe : {false, true}) {
    if (scripts_of(text, recipe) != scripts_of(text, recipe)) std::abort();
  }
  return 0;
}
