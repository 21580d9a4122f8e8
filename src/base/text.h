// Text: the few string operations that the standard library lacks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kiln {

std::vector<std::string> split(std::string_view text, char separator);  // keeps empty parts; "" gives {""}
std::string join(const std::vector<std::string>& parts, std::string_view separator);
std::string_view trim(std::string_view text);
std::string to_lower(std::string_view text);
// A whole decimal number, nothing before or after it; nullopt when it is not one or does not fit.
std::optional<std::int64_t> parse_int(std::string_view text);
// AWS's filter wildcards: '*' any run, '?' one character, '\' takes the next one as it is. Case-sensitive, linear time.
bool wildcard_match(std::string_view pattern, std::string_view text);
// The candidate nearest to `name` by edit distance, if it is near enough to be what was meant.
std::optional<std::string> nearest(std::string_view name, const std::vector<std::string>& candidates);
// The last `count` lines of `text`, without a trailing newline.
std::string last_lines(std::string_view text, std::size_t count);
// For people: "1.2 GiB", "300 KiB", "12 B".
std::string format_bytes(std::uint64_t bytes);

}  // namespace kiln
