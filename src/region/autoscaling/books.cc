// Books: what Auto Scaling keeps.
#include "region/autoscaling/books.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>

#include "base/error.h"

namespace kiln::region::autoscaling {
namespace {

constexpr std::string_view group_table = "autoscaling_group";
constexpr std::string_view member_table = "autoscaling_member";
constexpr std::string_view refresh_table = "autoscaling_refresh";
constexpr std::string_view activity_table = "autoscaling_activity";

// A token holds no '/', so the last one ends the group's name.
std::string member_key(const std::string& group, const std::string& token) { return group + "/" + token; }
std::string refresh_key(const Refresh& refresh) { return refresh.group + "/" + refresh.id; }
std::string activity_key(std::uint64_t number) { return fmt::format("{:012}", number); }

}  // namespace

void Books::load() {
  for (const auto& [key, text] : records_.load(group_table)) {
    Group group = decode_group(text);
    groups_.emplace(group.name, std::move(group));
  }
  for (const auto& [key, text] : records_.load(member_table)) {
    std::string name = key.substr(0, key.rfind('/'));
    Group* group = find(name);
    if (group == nullptr) throw Error(ErrorCode::corrupt, "the journal has an instance of a missing group: " + key);
    Member member = decode_member(text);
    if (!member.instance_id.empty()) group_of_[member.instance_id] = name;
    group->members.push_back(std::move(member));
  }
  for (auto& [name, group] : groups_) {
    std::stable_sort(group.members.begin(), group.members.end(),
                     [](const Member& a, const Member& b) { return a.order < b.order; });
  }
  for (const auto& [key, text] : records_.load(refresh_table)) {
    Refresh refresh = decode_refresh(text);
    refreshes_[refresh.group].push_back(std::move(refresh));
  }
  for (auto& [name, list] : refreshes_) {
    std::stable_sort(list.begin(), list.end(), [](const Refresh& a, const Refresh& b) {
      if (is_active(a.status) != is_active(b.status)) return is_active(b.status);
      return a.started < b.started;
    });
  }
  for (const auto& [key, text] : records_.load(activity_table)) {
    Activity activity = decode_activity(text);
    next_activity_ = std::max(next_activity_, activity.number + 1);
    activity_numbers_[activity.id] = activity.number;
    activities_.emplace(activity.number, std::move(activity));
  }
  for (const auto& [number, activity] : activities_) {
    if (is_over(activity.status)) ended_.push_back(number);
  }
}

Group* Books::find(const std::string& name) {
  auto it = groups_.find(name);
  return it == groups_.end() ? nullptr : &it->second;
}

const std::string* Books::group_of(const std::string& instance_id) const {
  auto it = group_of_.find(instance_id);
  return it == group_of_.end() ? nullptr : &it->second;
}

Member* Books::member(Group& group, const std::string& instance_id) {
  for (Member& member : group.members) {
    if (member.instance_id == instance_id) return &member;
  }
  return nullptr;
}

void Books::save(const Group& group) { records_.put(group_table, group.name, encode(group)); }

void Books::save(const Group& group, const Member& member) {
  if (!member.instance_id.empty()) group_of_[member.instance_id] = group.name;
  records_.put(member_table, member_key(group.name, member.token), encode(member));
}

void Books::forget(Group& group, const std::vector<std::string>& tokens) {
  std::unordered_set<std::string> gone(tokens.begin(), tokens.end());
  for (const Member& member : group.members) {
    if (!gone.contains(member.token)) continue;
    group_of_.erase(member.instance_id);
    records_.erase(member_table, member_key(group.name, member.token));
  }
  std::erase_if(group.members, [&](const Member& member) { return gone.contains(member.token); });
}

void Books::erase(const std::string& name) {
  Group* group = find(name);
  if (group == nullptr) return;
  KILN_ASSERT(group->members.empty(), "a group goes after its instances");
  for (const Refresh& refresh : refreshes_[name]) records_.erase(refresh_table, refresh_key(refresh));
  refreshes_.erase(name);
  for (auto& [number, activity] : activities_) {
    if (activity.group_arn != group->arn) continue;
    activity.group_deleted = true;
    save(activity);
  }
  records_.erase(group_table, name);
  groups_.erase(name);
}

const std::vector<Refresh>& Books::refreshes(const std::string& group) const {
  static const std::vector<Refresh> none;
  auto it = refreshes_.find(group);
  return it == refreshes_.end() ? none : it->second;
}

Refresh* Books::active_refresh(const std::string& group) {
  auto it = refreshes_.find(group);
  if (it == refreshes_.end() || it->second.empty() || !is_active(it->second.back().status)) return nullptr;
  return &it->second.back();
}

void Books::add(Refresh refresh) {
  std::vector<Refresh>& list = refreshes_[refresh.group];
  if (list.size() >= refreshes_kept) {
    records_.erase(refresh_table, refresh_key(list.front()));
    list.erase(list.begin());
  }
  records_.put(refresh_table, refresh_key(refresh), encode(refresh));
  list.push_back(std::move(refresh));
  on_refresh_(list.back());
}

void Books::save(const Refresh& refresh) {
  for (Refresh& kept : refreshes_[refresh.group]) {
    if (kept.id != refresh.id) continue;
    std::string text = encode(refresh);
    if (&kept != &refresh) {
      if (encode(kept) == text) return;
      kept = refresh;
    }
    records_.put(refresh_table, refresh_key(refresh), std::move(text));
    return on_refresh_(kept);
  }
}

Activity& Books::begin(const Group& group, Time now, std::string description, std::string cause, std::string details) {
  Activity activity;
  activity.id = random_.uuid();
  activity.number = next_activity_++;
  activity.group = group.name;
  activity.group_arn = group.arn;
  activity.description = std::move(description);
  activity.cause = std::move(cause).substr(0, 1023);  // AWS's longest
  activity.details = std::move(details);
  activity.start = now;
  activity_numbers_[activity.id] = activity.number;
  Activity& kept = activities_.emplace(activity.number, std::move(activity)).first->second;
  save(kept);
  on_activity_(kept);
  return kept;
}

Activity* Books::activity(const std::string& id) {
  auto it = activity_numbers_.find(id);
  return it == activity_numbers_.end() ? nullptr : &activities_.at(it->second);
}

void Books::save(const Activity& activity) {
  records_.put(activity_table, activity_key(activity.number), encode(activity));
}

void Books::finish(const std::string& id, ActivityStatus status, Time now, std::string message) {
  Activity* found = activity(id);
  if (found == nullptr || is_over(found->status)) return;
  found->status = status;
  found->progress = 100;
  found->end = now;
  if (!message.empty()) {
    found->description += ".  Status Reason: " + message;
    found->status_message = std::move(message).substr(0, 255);
  }
  save(*found);
  on_activity_(*found);
  ended_.push_back(found->number);
  trim_activities();
}

void Books::trim_activities() {
  while (ended_.size() > activities_kept) {
    auto it = activities_.find(ended_.front());
    ended_.pop_front();
    records_.erase(activity_table, activity_key(it->first));
    activity_numbers_.erase(it->second.id);
    activities_.erase(it);
  }
}

}  // namespace kiln::region::autoscaling
