// Output: see output.h.
#include "region/ssm/output.h"

#include <algorithm>
#include <cstdint>

namespace kiln::region::ssm {
namespace {

constexpr std::string_view kOutCut = "\n---Output truncated---";
constexpr std::string_view kErrCut = "\n---Error truncated----";
constexpr std::string_view kErrTitle = "\n----------ERROR-------\n";
constexpr std::string_view kUnknown = "\xEF\xBF\xBD";  // U+FFFD

// Bytes of the well-formed character at the beginning (RFC 3629); 0 when there is none.
std::size_t character(std::string_view text) {
  const auto at = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t first = at(0);
  if (first < 0x80) return 1;
  const std::size_t size = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < size) return 0;
  for (std::size_t i = 1; i < size; ++i) {
    if ((at(i) & 0xC0) != 0x80) return 0;
  }
  if ((first == 0xE0 && at(1) < 0xA0) || (first == 0xED && at(1) > 0x9F)) return 0;
  if ((first == 0xF0 && at(1) < 0x90) || (first == 0xF4 && at(1) > 0x8F)) return 0;
  return size;
}

std::string text_of(std::string_view bytes) {
  std::string out;
  while (!bytes.empty()) {
    const std::size_t size = character(bytes);
    out += size == 0 ? kUnknown : bytes.substr(0, size);
    bytes.remove_prefix(std::max<std::size_t>(size, 1));
  }
  return out;
}

std::size_t length(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<std::uint8_t>(c) & 0xC0) != 0x80; }));
}

std::string first(std::string_view text, std::size_t characters) {
  std::size_t bytes = 0;
  while (bytes < text.size() && characters-- > 0) bytes += std::max<std::size_t>(1, character(text.substr(bytes)));
  return std::string(text.substr(0, bytes));
}

std::string shown(std::string_view bytes, bool cut, std::size_t max, std::string_view mark) {
  const std::string text = text_of(bytes);
  if (!cut && length(text) <= max) return text;
  return first(text, max - mark.size()) + std::string(mark);
}

}  // namespace

std::string shown_output(std::string_view bytes, bool cut, std::size_t max) { return shown(bytes, cut, max, kOutCut); }
std::string shown_error(std::string_view bytes, bool cut, std::size_t max) { return shown(bytes, cut, max, kErrCut); }

std::string joined(const std::string& out, const std::string& err, std::size_t max) {
  const std::size_t out_size = length(out);
  const std::size_t err_size = length(err);
  const std::size_t title = err.empty() ? 0 : kErrTitle.size();
  const std::string head(err.empty() ? "" : kErrTitle);
  if (out_size + err_size + title <= max) return out + head + err;
  const std::size_t room = max - title;
  const std::size_t half = room / 2;
  // Whichever is short leaves its room to the other.
  const std::size_t for_out = err_size < half ? room - err_size : std::min(half, out_size);
  const std::size_t for_err = room - for_out;
  return shown_output(out, false, for_out) + head + shown_error(err, false, for_err);
}

}  // namespace kiln::region::ssm
