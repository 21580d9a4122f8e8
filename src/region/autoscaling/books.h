// Books: everything that Auto Scaling keeps, in memory and, record by record, on disk.
//
// Whoever changes something calls the `save` that belongs to it in the same turn. Loop's thread only.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "host/random.h"
#include "region/autoscaling/activities.h"
#include "region/autoscaling/group.h"
#include "region/autoscaling/record.h"
#include "region/autoscaling/refresh.h"

namespace kiln::region::autoscaling {

class Books {
 public:
  // Both must outlive it.
  Books(Records& records, host::Random& random) : records_(records), random_(random) {}
  void load();
  // Called when an activity begins or is over, and with each record of a refresh, changed or not.
  void listen(std::function<void(const Activity&)> on_activity, std::function<void(const Refresh&)> on_refresh) {
    on_activity_ = std::move(on_activity);
    on_refresh_ = std::move(on_refresh);
  }

  std::map<std::string, Group>& groups() { return groups_; }
  const std::map<std::string, Group>& groups() const { return groups_; }
  Group* find(const std::string& name);
  // The name of the group that the instance belongs to; null when it is in none.
  const std::string* group_of(const std::string& instance_id) const;
  static Member* member(Group& group, const std::string& instance_id);

  void save(const Group& group);
  void save(const Group& group, const Member& member);
  // Forgets the members with these tokens.
  void forget(Group& group, const std::vector<std::string>& tokens);
  void erase(const std::string& group);  // with its refreshes; its activities stay, marked

  // Oldest first; the last one is the active one, if any is.
  const std::vector<Refresh>& refreshes(const std::string& group) const;
  Refresh* active_refresh(const std::string& group);
  void add(Refresh refresh);
  void save(const Refresh& refresh);  // replaces the one with this id

  // A new activity, under way. Saved; save it again after changes.
  Activity& begin(const Group& group, Time now, std::string description, std::string cause, std::string details);
  Activity* activity(const std::string& id);
  void save(const Activity& activity);
  void finish(const std::string& id, ActivityStatus status, Time now, std::string message = {});
  const std::map<std::uint64_t, Activity>& activities() const { return activities_; }

  // Of the past, for the whole region; AWS keeps six weeks.
  static constexpr std::size_t activities_kept = 10'000;
  static constexpr std::size_t refreshes_kept = 100;  // a group

 private:
  void trim_activities();

  Records& records_;
  host::Random& random_;
  std::function<void(const Activity&)> on_activity_ = [](const Activity&) {};
  std::function<void(const Refresh&)> on_refresh_ = [](const Refresh&) {};
  std::map<std::string, Group> groups_;
  std::unordered_map<std::string, std::string> group_of_;
  std::map<std::string, std::vector<Refresh>> refreshes_;
  std::map<std::uint64_t, Activity> activities_;
  std::unordered_map<std::string, std::uint64_t> activity_numbers_;
  std::deque<std::uint64_t> ended_;  // in order of their end
  std::uint64_t next_activity_ = 1;
};

}  // namespace kiln::region::autoscaling
