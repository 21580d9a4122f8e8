// Record JSON: the values that records are made of. Private to the record_*.cc files: nlohmann's header is heavy.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/digest.h"
#include "base/error.h"
#include "base/time.h"
#include "region/ec2/disk_model.h"

namespace kiln::region::ec2 {

using nlohmann::json;

inline json number(Time time) { return time.time_since_epoch().count(); }
inline Time time_of(const json& value) { return Time(Duration(value.get<std::int64_t>())); }
template <typename T>
json maybe(const std::optional<T>& value) {
  return value ? json(*value) : json();
}
template <typename T>
std::optional<T> maybe_of(const json& value) {
  return value.is_null() ? std::nullopt : std::optional<T>(value.get<T>());
}
inline Digest digest_of(const json& value) {
  return value.is_null() ? Digest() : Digest::parse(value.get<std::string>());
}
inline json text_of(const Digest& digest) { return digest.empty() ? json() : json(digest.str()); }

// Reads one record; what cannot be read is named.
template <typename Read>
auto read(const char* what, const std::string& text, Read&& body) {
  try {
    return body(json::parse(text));
  } catch (const json::exception& error) {
    throw Error(ErrorCode::corrupt, fmt::format("the journal's record of {} cannot be read: {}", what, error.what()));
  }
}

// record_disks.cc
json to_json(const BlockDevice& device);
BlockDevice block_device_of(const json& from);

}  // namespace kiln::region::ec2
