// Id: a string that names one kind of thing, so that a subnet's id is never passed for an instance's.
#pragma once

#include <compare>
#include <functional>
#include <string>
#include <utility>

namespace kiln {

// `struct InstanceTag; using InstanceId = kiln::Id<InstanceTag>;`
template <typename Tag>
class Id {
 public:
  Id() = default;
  explicit Id(std::string value) : value_(std::move(value)) {}
  const std::string& str() const { return value_; }
  bool empty() const { return value_.empty(); }
  auto operator<=>(const Id&) const = default;

 private:
  std::string value_;
};

}  // namespace kiln

template <typename Tag>
struct std::hash<kiln::Id<Tag>> {
  std::size_t operator()(const kiln::Id<Tag>& id) const { return std::hash<std::string>()(id.str()); }
};
