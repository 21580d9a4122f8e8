// Mask: the longest value that begins at each place.
#include "base/mask.h"

#include <algorithm>

#include "base/text.h"

namespace kiln {

Mask::Mask(const std::vector<std::string>& values, std::function<void(std::string_view)> next)
    : next_(std::move(next)) {
  for (const std::string& value : values) {
    if (value.size() < kMaskedBytesMin) continue;
    hidden_.push_back(value);
    for (std::string& line : split(value, '\n')) {
      if (line.size() >= kMaskedBytesMin && line != value) hidden_.push_back(std::move(line));
    }
  }
  std::ranges::sort(hidden_, [](const std::string& a, const std::string& b) { return a.size() > b.size(); });
}

void Mask::write(std::string_view piece) {
  held_ += piece;
  pass(false);
}

void Mask::finish() { pass(true); }

void Mask::pass(bool all) {
  std::string out;
  std::size_t at = 0;
  const std::size_t longest = hidden_.empty() ? 0 : hidden_.front().size();
  while (at < held_.size()) {
    // What is still to come may make a longer value of it.
    if (!all && held_.size() - at < longest &&
        std::ranges::any_of(hidden_, [&](const std::string& one) { return one.starts_with(held_.substr(at)); }))
      break;
    const auto found =
        std::ranges::find_if(hidden_, [&](const std::string& one) { return held_.compare(at, one.size(), one) == 0; });
    if (found == hidden_.end()) {
      out += held_[at++];
    } else {
      out += "***";
      at += found->size();
    }
  }
  held_.erase(0, at);
  if (!out.empty()) next_(out);
}

std::string masked(std::string_view text, const std::vector<std::string>& values) {
  if (values.empty()) return std::string(text);
  std::string out;
  Mask mask(values, [&](std::string_view piece) { out += piece; });
  mask.write(text);
  mask.finish();
  return out;
}

std::string masked_lines(std::string_view text, const std::vector<std::string>& values) {
  if (values.empty()) return std::string(text);
  std::vector<std::string> lines = split(text, '\n');
  for (std::string& line : lines) line = masked(line, values);
  return join(lines, "\n");
}

Error masked(const Error& error, const std::vector<std::string>& values) {
  Error out(error.code(), masked(error.message(), values), masked(error.next(), values));
  for (const std::string& one : error.context()) out.add_context(masked(one, values));
  return out;
}

}  // namespace kiln
