// Encodings of bytes as text: hex, Base64 (RFC 4648), percent (RFC 3986).
#pragma once

#include <string>
#include <string_view>

namespace kiln {

std::string hex_encode(std::string_view bytes);
std::string hex_decode(std::string_view text);  // throws Error(invalid)
std::string base64_encode(std::string_view bytes);
std::string base64_decode(
    std::string_view text);  // throws Error(invalid); line breaks are allowed, as MIME writes them
// Everything but A-Z a-z 0-9 - _ . ~ becomes %XX; `keep_slash` leaves '/' as it is (SigV4's canonical path).
std::string percent_encode(std::string_view text, bool keep_slash = false);
// %XX, and '+' as a space when `plus_is_space` (HTML forms). A broken escape stays as it stands.
std::string percent_decode(std::string_view text, bool plus_is_space = false);

}  // namespace kiln
