// Mask: values that nobody may read are "***" in whatever people are shown.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace kiln {

// A shorter value would hide half of every output, so it is not hidden, and whoever takes one says so.
inline constexpr std::size_t kMaskedBytesMin = 4;

// Passes a stream on with "***" for every value and for every line of one, also when it comes in pieces. The end of
// what was written is held back as long as it may be the beginning of a value.
class Mask {
 public:
  Mask(const std::vector<std::string>& values, std::function<void(std::string_view)> next);
  void write(std::string_view piece);
  void finish();

 private:
  void pass(bool all);

  std::vector<std::string> hidden_;  // longest first
  std::function<void(std::string_view)> next_;
  std::string held_;
};

std::string masked(std::string_view text, const std::vector<std::string>& values);
// Line by line, so that a place in the text stays where it was.
std::string masked_lines(std::string_view text, const std::vector<std::string>& values);
// Message, next step and context.
Error masked(const Error& error, const std::vector<std::string>& values);

}  // namespace kiln
