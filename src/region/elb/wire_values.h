// Wire values: ELBv2's things as AWS's structures, and the parts of requests as ours. Private to this folder.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "region/api_error.h"
#include "region/elb/elb.h"
#include "wire/elb.h"

namespace kiln::region::elb {

wire::elb::LoadBalancer to_wire(const Elb& elb, const LoadBalancer& value);
wire::elb::TargetGroup to_wire(const Elb& elb, const TargetGroup& value);
wire::elb::Listener to_wire(const Listener& value);
std::vector<wire::elb::Tag> to_wire(const Tags& tags);

// ApiError DuplicateTagKeys when a key comes twice.
Tags read_tags(const std::vector<wire::elb::Tag>& tags);
// The one forward action that a listener's default actions must be; ApiError names what is not served.
Forward read_actions(const std::vector<wire::elb::Action>& actions);

// The part of `items` after the marker, at most a page of it; `next` is set when more is left. `key` gives each item's
// place in the order, as text; it is the marker.
template <typename Item, typename Key>
std::vector<Item> page(const std::vector<Item>& items, const std::optional<std::string>& marker,
                       const std::optional<std::int64_t>& size, std::optional<std::string>& next, Key key) {
  std::int64_t most = size.value_or(400);
  if (most < 1 || most > 400) throw ApiError("ValidationError", "PageSize must be in the range 1 to 400");
  std::vector<Item> result;
  for (const Item& item : items) {
    if (marker && key(item) <= *marker) continue;
    if (result.size() == static_cast<std::size_t>(most)) {
      next = key(result.back());
      break;
    }
    result.push_back(item);
  }
  return result;
}

}  // namespace kiln::region::elb
