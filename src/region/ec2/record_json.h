// Record JSON: what EC2's records are made of beside times. Private to the record_*.cc files.
#pragma once

#include <optional>
#include <string>

#include "base/digest.h"
#include "region/ec2/disk_model.h"
#include "region/record_json.h"

namespace kiln::region::ec2 {

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

// record_disks.cc
json to_json(const BlockDevice& device);
BlockDevice block_device_of(const json& from);

}  // namespace kiln::region::ec2
