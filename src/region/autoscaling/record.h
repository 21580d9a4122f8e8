// Record: how the books of Auto Scaling are written down and read again, as JSON. Fields are only ever added.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "region/autoscaling/activities.h"
#include "region/autoscaling/group.h"
#include "region/autoscaling/refresh.h"

namespace kiln::region::autoscaling {

// Where records are kept: by table and key. What one turn of the loop changes is there whole or not at all after a
// crash. An adapter on the region's journal implements it (adapters.h).
class Records {
 public:
  virtual ~Records() = default;
  virtual void put(std::string_view table, std::string_view key, std::string text) = 0;
  virtual void erase(std::string_view table, std::string_view key) = 0;
  virtual std::vector<std::pair<std::string, std::string>> load(std::string_view table) = 0;
};

std::string encode(const Group& group);  // without its members
std::string encode(const Member& member);
std::string encode(const Refresh& refresh);
std::string encode(const Activity& activity);
// Throw Error(corrupt).
Group decode_group(const std::string& text);
Member decode_member(const std::string& text);
Refresh decode_refresh(const std::string& text);
Activity decode_activity(const std::string& text);

}  // namespace kiln::region::autoscaling
