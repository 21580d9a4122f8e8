// Output: what a command has written, as AWS shows it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace kiln::region::ssm {

inline constexpr std::size_t kStdoutCharacters = 24'000;  // GetCommandInvocation's page
inline constexpr std::size_t kStderrCharacters = 8'000;
inline constexpr std::size_t kPluginCharacters = 2'500;  // CommandPlugin's Output: both of them

// Bytes of any kind as text: what is no UTF-8 becomes U+FFFD. When it was cut, or is longer than `max` characters, its
// end is the mark ("\n---Output truncated---") within `max`.
std::string shown_output(std::string_view bytes, bool cut, std::size_t max);
std::string shown_error(std::string_view bytes, bool cut, std::size_t max);
// Both in one text, as AWS's agent joins them (`TruncateOutput` of amazon-ssm-agent).
std::string joined(const std::string& out, const std::string& err, std::size_t max);

}  // namespace kiln::region::ssm
