// Record: JSON of the books.
#include "region/autoscaling/record.h"

#include "region/record_json.h"

namespace kiln::region::autoscaling {
namespace {

// Writes only what is there; reads only what was written.
template <typename T>
void set(json& object, const char* key, const std::optional<T>& value) {
  if (!value) return;
  if constexpr (std::is_same_v<T, Time>) {
    object[key] = number(*value);
  } else {
    object[key] = *value;
  }
}

template <typename T>
void get(const json& object, const char* key, std::optional<T>& value) {
  auto it = object.find(key);
  if (it == object.end()) return;
  if constexpr (std::is_same_v<T, Time>) {
    value = time_of(*it);
  } else {
    value = it->get<T>();
  }
}

template <typename T>
void get(const json& object, const char* key, T& value) {
  auto it = object.find(key);
  if (it == object.end()) return;
  if constexpr (std::is_same_v<T, Time>) {
    value = time_of(*it);
  } else if constexpr (std::is_enum_v<T>) {
    value = static_cast<T>(it->get<int>());
  } else {
    value = it->get<T>();
  }
}

json of(const TemplateRef& ref) { return {{"id", ref.id}, {"name", ref.name}, {"version", ref.version}}; }
TemplateRef template_of(const json& value) { return {value.at("id"), value.at("name"), value.at("version")}; }

json of(const RefreshPreferences& preferences) {
  json object{{"min_healthy", preferences.min_healthy}, {"checkpoints", preferences.checkpoints}};
  set(object, "max_healthy", preferences.max_healthy);
  set(object, "warmup", preferences.warmup_seconds);
  set(object, "checkpoint_delay", preferences.checkpoint_delay_seconds);
  set(object, "skip_matching", preferences.skip_matching);
  set(object, "auto_rollback", preferences.auto_rollback);
  set(object, "scale_in_protected", preferences.scale_in_protected);
  set(object, "standby", preferences.standby);
  set(object, "bake", preferences.bake_seconds);
  return object;
}

RefreshPreferences preferences_of(const json& object) {
  RefreshPreferences preferences;
  get(object, "min_healthy", preferences.min_healthy);
  get(object, "checkpoints", preferences.checkpoints);
  get(object, "max_healthy", preferences.max_healthy);
  get(object, "warmup", preferences.warmup_seconds);
  get(object, "checkpoint_delay", preferences.checkpoint_delay_seconds);
  get(object, "skip_matching", preferences.skip_matching);
  get(object, "auto_rollback", preferences.auto_rollback);
  get(object, "scale_in_protected", preferences.scale_in_protected);
  get(object, "standby", preferences.standby);
  get(object, "bake", preferences.bake_seconds);
  return preferences;
}

}  // namespace

std::string encode(const Group& group) {
  json object{{"name", group.name},
              {"arn", group.arn},
              {"template", of(group.launch_template)},
              {"min", group.min_size},
              {"max", group.max_size},
              {"desired", group.desired},
              {"cooldown", group.default_cooldown_seconds},
              {"subnets", group.subnets},
              {"zones", group.zones},
              {"subnet_zones", group.subnet_zones},
              {"elb_health", group.elb_health},
              {"grace", group.grace_seconds},
              {"termination_policies", group.termination_policies},
              {"protect_new", group.protect_new},
              {"created", number(group.created)},
              {"deleting", group.deleting},
              {"request", group.request},
              {"owed", group.replacements_owed},
              {"failures", group.launch_failures}};
  set(object, "warmup", group.default_warmup_seconds);
  set(object, "not_before", group.launch_not_before);
  set(object, "last_scaling", group.last_scaling);
  json target_groups = json::array();
  for (const AttachedTargetGroup& target_group : group.target_groups) {
    target_groups.push_back({{"arn", target_group.arn}, {"removing", target_group.removing}});
  }
  object["target_groups"] = std::move(target_groups);
  json tags = json::array();
  for (const Tag& tag : group.tags) {
    tags.push_back({{"key", tag.key}, {"value", tag.value}, {"propagate", tag.propagate}});
  }
  object["tags"] = std::move(tags);
  return object.dump();
}

Group decode_group(const std::string& text) {
  return read("an Auto Scaling group", text, [&](const json& object) {
    Group group;
    group.name = object.at("name");
    group.arn = object.at("arn");
    group.launch_template = template_of(object.at("template"));
    get(object, "min", group.min_size);
    get(object, "max", group.max_size);
    get(object, "desired", group.desired);
    get(object, "cooldown", group.default_cooldown_seconds);
    get(object, "subnets", group.subnets);
    get(object, "zones", group.zones);
    get(object, "subnet_zones", group.subnet_zones);
    get(object, "elb_health", group.elb_health);
    get(object, "grace", group.grace_seconds);
    get(object, "termination_policies", group.termination_policies);
    get(object, "protect_new", group.protect_new);
    get(object, "created", group.created);
    get(object, "deleting", group.deleting);
    get(object, "request", group.request);
    get(object, "owed", group.replacements_owed);
    get(object, "failures", group.launch_failures);
    get(object, "warmup", group.default_warmup_seconds);
    get(object, "not_before", group.launch_not_before);
    get(object, "last_scaling", group.last_scaling);
    for (const json& item : object.at("target_groups")) {
      group.target_groups.push_back({item.at("arn"), item.at("removing")});
    }
    for (const json& item : object.at("tags")) {
      group.tags.push_back({item.at("key"), item.at("value"), item.at("propagate")});
    }
    return group;
  });
}

std::string encode(const Member& member) {
  json object{{"token", member.token},
              {"order", member.order},
              {"instance", member.instance_id},
              {"zone", member.zone},
              {"subnet", member.subnet_id},
              {"type", member.instance_type},
              {"image", member.image_id},
              {"template", of(member.launched_from)},
              {"state", static_cast<int>(member.state)},
              {"ailment", static_cast<int>(member.ailment)},
              {"protected", member.protected_from_scale_in},
              {"leaving_standby", member.leaving_standby},
              {"served", member.served},
              {"skip_draining", member.skip_draining},
              {"created", number(member.created)},
              {"refresh", member.refresh_id},
              {"registered", member.registered},
              {"activity", member.activity_id}};
  set(object, "in_service", member.in_service_since);
  return object.dump();
}

Member decode_member(const std::string& text) {
  return read("an instance of an Auto Scaling group", text, [&](const json& object) {
    Member member;
    member.token = object.at("token");
    member.instance_id = object.at("instance");
    get(object, "order", member.order);
    get(object, "zone", member.zone);
    get(object, "subnet", member.subnet_id);
    get(object, "type", member.instance_type);
    get(object, "image", member.image_id);
    member.launched_from = template_of(object.at("template"));
    get(object, "state", member.state);
    get(object, "ailment", member.ailment);
    get(object, "protected", member.protected_from_scale_in);
    get(object, "leaving_standby", member.leaving_standby);
    get(object, "served", member.served);
    get(object, "skip_draining", member.skip_draining);
    get(object, "created", member.created);
    get(object, "in_service", member.in_service_since);
    get(object, "refresh", member.refresh_id);
    get(object, "registered", member.registered);
    get(object, "activity", member.activity_id);
    return member;
  });
}

std::string encode(const Refresh& refresh) {
  json object{{"id", refresh.id},
              {"group", refresh.group},
              {"status", static_cast<int>(refresh.status)},
              {"reason", refresh.reason},
              {"percent", refresh.percent_complete},
              {"to_update", refresh.instances_to_update},
              {"preferences", of(refresh.preferences)},
              {"original", of(refresh.original)},
              {"last_progress", number(refresh.last_progress)},
              {"best_ready", refresh.best_ready},
              {"checkpoint_passed", refresh.checkpoint_passed},
              {"checkpoint_total", refresh.checkpoint_total}};
  set(object, "started", refresh.started);
  set(object, "ended", refresh.ended);
  set(object, "hold_until", refresh.hold_until);
  set(object, "bake_until", refresh.bake_until);
  if (refresh.desired) object["desired"] = of(*refresh.desired);
  if (refresh.rollback) {
    object["rollback"] = {{"reason", refresh.rollback->reason},
                          {"start", number(refresh.rollback->start)},
                          {"percent", refresh.rollback->percent_complete},
                          {"to_update", refresh.rollback->instances_to_update}};
  }
  return object.dump();
}

Refresh decode_refresh(const std::string& text) {
  return read("an instance refresh", text, [&](const json& object) {
    Refresh refresh;
    refresh.id = object.at("id");
    refresh.group = object.at("group");
    get(object, "status", refresh.status);
    get(object, "reason", refresh.reason);
    get(object, "percent", refresh.percent_complete);
    get(object, "to_update", refresh.instances_to_update);
    refresh.preferences = preferences_of(object.at("preferences"));
    refresh.original = template_of(object.at("original"));
    get(object, "last_progress", refresh.last_progress);
    get(object, "best_ready", refresh.best_ready);
    get(object, "checkpoint_passed", refresh.checkpoint_passed);
    get(object, "checkpoint_total", refresh.checkpoint_total);
    get(object, "started", refresh.started);
    get(object, "ended", refresh.ended);
    get(object, "hold_until", refresh.hold_until);
    get(object, "bake_until", refresh.bake_until);
    if (object.contains("desired")) refresh.desired = template_of(object["desired"]);
    if (object.contains("rollback")) {
      const json& rollback = object["rollback"];
      refresh.rollback = RollbackDetails{rollback.at("reason"), time_of(rollback.at("start")), rollback.at("percent"),
                                         rollback.at("to_update")};
    }
    return refresh;
  });
}

std::string encode(const Activity& activity) {
  json object{{"id", activity.id},
              {"number", activity.number},
              {"group", activity.group},
              {"arn", activity.group_arn},
              {"description", activity.description},
              {"cause", activity.cause},
              {"details", activity.details},
              {"status", static_cast<int>(activity.status)},
              {"message", activity.status_message},
              {"progress", activity.progress},
              {"start", number(activity.start)},
              {"deleted", activity.group_deleted}};
  set(object, "end", activity.end);
  return object.dump();
}

Activity decode_activity(const std::string& text) {
  return read("a scaling activity", text, [&](const json& object) {
    Activity activity;
    activity.id = object.at("id");
    activity.number = object.at("number");
    activity.group = object.at("group");
    get(object, "arn", activity.group_arn);
    get(object, "description", activity.description);
    get(object, "cause", activity.cause);
    get(object, "details", activity.details);
    get(object, "status", activity.status);
    get(object, "message", activity.status_message);
    get(object, "progress", activity.progress);
    get(object, "start", activity.start);
    get(object, "end", activity.end);
    get(object, "deleted", activity.group_deleted);
    return activity;
  });
}

}  // namespace kiln::region::autoscaling
