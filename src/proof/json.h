// Json: reading what others wrote, within bounds, and writing the same bytes for the same value. Private to this room.
#pragma once

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/error.h"

namespace kiln::proof {

using Json = nlohmann::json;  // its objects are sorted by key

// Destroying a value recurses.
inline constexpr int kJsonDepthMax = 64;

inline std::string to_text(const Json& json) {
  // Names of files may be any bytes.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// Parses one object and calls `read` with it; whatever is wrong is an Error(corrupt) that begins with `what`.
template <typename Read>
auto reading_json(const char* what, std::string_view text, std::size_t bytes_max, Read&& read)
    -> decltype(read(std::declval<const Json&>())) {
  if (text.size() > bytes_max)
    throw Error(ErrorCode::corrupt, fmt::format("{}: {} bytes; at most {} are read", what, text.size(), bytes_max));
  try {
    const auto bound = [&](int depth, Json::parse_event_t, Json&) {
      if (depth > kJsonDepthMax) throw Error(ErrorCode::corrupt, fmt::format("{}: nested too deep", what));
      return true;
    };
    const Json json = Json::parse(text, bound);
    if (!json.is_object()) throw Error(ErrorCode::corrupt, fmt::format("{}: not a JSON object", what));
    return read(json);
  } catch (const Json::exception& error) {
    throw Error(ErrorCode::corrupt, fmt::format("{}: {}", what, error.what()));
  } catch (const Error& error) {
    if (error.code() == ErrorCode::corrupt) throw;
    throw Error(ErrorCode::corrupt, fmt::format("{}: {}", what, error.message()));
  }
}

}  // namespace kiln::proof
