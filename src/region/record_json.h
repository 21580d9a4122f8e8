// Record JSON: the values that the journal's records are made of. Private to the record*.cc files: nlohmann's header is
// heavy.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/time.h"

namespace kiln::region {

using nlohmann::json;

inline json number(Time time) { return time.time_since_epoch().count(); }
inline json number(const std::optional<Time>& time) { return time ? number(*time) : json(); }
inline Time time_of(const json& value) { return Time(Duration(value.get<std::int64_t>())); }
inline std::optional<Time> maybe_time_of(const json& value) {
  return value.is_null() ? std::nullopt : std::optional(time_of(value));
}

// Reads one record; what cannot be read is named.
template <typename Read>
auto read(const char* what, const std::string& text, Read&& body) {
  try {
    return body(json::parse(text));
  } catch (const json::exception& error) {
    throw Error(ErrorCode::corrupt, fmt::format("the journal's record of {} cannot be read: {}", what, error.what()));
  }
}

}  // namespace kiln::region
