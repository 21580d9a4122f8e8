// Timers: what is due when, for the loops. Those of one moment go in the order in which they were asked for. Not
// locked.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <utility>

#include "host/loop.h"

namespace kiln::host {

class Timers {
 public:
  // `due` on the loop's uptime.
  TimerId add(Duration due, std::function<void()> task) {
    const TimerId id = next_id_++;
    tasks_.emplace(std::pair(due, id), std::move(task));
    due_.emplace(id, due);
    return id;
  }
  void cancel(TimerId id) {
    const auto found = due_.find(id);
    if (found == due_.end()) return;
    tasks_.erase({found->second, id});
    due_.erase(found);
  }
  // When the first one is due; nullopt: there is none.
  std::optional<Duration> first() const {
    return tasks_.empty() ? std::nullopt : std::optional(tasks_.begin()->first.first);
  }
  // The first one, if it is due by `now`; else an empty function.
  std::function<void()> take(Duration now) {
    if (tasks_.empty() || tasks_.begin()->first.first > now) return {};
    auto node = tasks_.extract(tasks_.begin());
    due_.erase(node.key().second);
    return std::move(node.mapped());
  }

 private:
  std::map<std::pair<Duration, TimerId>, std::function<void()>> tasks_;
  std::map<TimerId, Duration> due_;
  TimerId next_id_ = 1;
};

}  // namespace kiln::host
