// Handlers: Auto Scaling's operations.
#include "region/autoscaling/handlers.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "region/autoscaling/translate.h"

namespace kiln::region::autoscaling {
namespace {

template <typename T>
const T& need(const std::optional<T>& value, const char* name) {
  if (value) return *value;
  throw ApiError(
      "ValidationError",
      fmt::format("1 validation error detected: Value null at '{}' failed to satisfy constraint: Member must "
                  "not be null",
                  name));
}

// Auto Scaling answers ValidationError where others say UnsupportedOperation.
template <typename Body>
auto refusing(Body&& body) -> decltype(body()) {
  try {
    return body();
  } catch (const ApiError& error) {
    if (error.code() != "UnsupportedOperation") throw;
    throw ApiError("ValidationError", error.message());
  }
}

// A page of `all`: tokens are positions. Answers the next one's token.
template <typename T>
std::optional<std::string> take_page(std::vector<T>& all, const std::optional<std::string>& token,
                                     const std::optional<std::int64_t>& max_records, std::int64_t usual,
                                     std::int64_t most) {
  std::int64_t size = max_records.value_or(usual);
  if (size < 1 || size > most) {
    throw ApiError("ValidationError", fmt::format("MaxRecords must be from 1 to {}", most));
  }
  std::int64_t begin = 0;
  if (token) {
    begin = parse_int(*token).value_or(-1);
    if (begin < 1) throw ApiError("InvalidNextToken", fmt::format("The NextToken '{}' is not valid", *token));
  }
  std::int64_t count = static_cast<std::int64_t>(all.size());
  begin = std::min(begin, count);
  std::int64_t end = std::min(begin + size, count);
  all.erase(all.begin() + end, all.end());
  all.erase(all.begin(), all.begin() + begin);
  if (end == count) return std::nullopt;
  return std::to_string(end);
}

bool holds(const std::vector<std::string>& values, const std::string& value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

// Filters of DescribeAutoScalingGroups: tag-key, tag-value, tag:<key>.
bool passes(const Group& group, const std::vector<message::Filter>& filters) {
  return std::all_of(filters.begin(), filters.end(), [&](const message::Filter& filter) {
    const std::string& name = need(filter.name, "filters.name");
    auto fits = [&](const Tag& tag) {
      if (name == "tag-key") return holds(filter.values, tag.key);
      if (name == "tag-value") return holds(filter.values, tag.value);
      if (name.starts_with("tag:")) return tag.key == name.substr(4) && holds(filter.values, tag.value);
      throw ApiError("ValidationError", fmt::format("Filter type {} is not correct", name));
    };
    if (name != "tag-key" && name != "tag-value") fits(Tag{});
    return std::any_of(group.tags.begin(), group.tags.end(), fits);
  });
}

// Filters of DescribeTags.
bool passes(const message::TagDescription& tag, const std::vector<message::Filter>& filters) {
  return std::all_of(filters.begin(), filters.end(), [&](const message::Filter& filter) {
    const std::string& name = need(filter.name, "filters.name");
    if (name == "auto-scaling-group") return holds(filter.values, *tag.resource_id);
    if (name == "key") return holds(filter.values, *tag.key);
    if (name == "value") return holds(filter.values, *tag.value);
    if (name == "propagate-at-launch") return holds(filter.values, *tag.propagate_at_launch ? "true" : "false");
    throw ApiError("ValidationError", fmt::format("Filter type {} is not correct", name));
  });
}

// Filters of DescribeScalingActivities.
bool passes(const Activity& activity, const std::vector<message::Filter>& filters) {
  return std::all_of(filters.begin(), filters.end(), [&](const message::Filter& filter) {
    const std::string& name = need(filter.name, "filters.name");
    if (name == "Status") return holds(filter.values, std::string(to_string(activity.status)));
    bool lower = name == "StartTimeLowerBound";
    if (!lower && name != "StartTimeUpperBound") {
      throw ApiError("ValidationError", fmt::format("Filter type {} is not correct", name));
    }
    return std::all_of(filter.values.begin(), filter.values.end(), [&](const std::string& value) {
      try {
        Time bound = parse_iso8601(value);
        return lower ? activity.start >= bound : activity.start <= bound;
      } catch (const Error&) {
        throw ApiError("ValidationError", fmt::format("'{}' is not a time of ISO 8601", value));
      }
    });
  });
}

const std::string& group_name(const message::Tag& tag) {
  if (tag.resource_type && *tag.resource_type != "auto-scaling-group") {
    throw ApiError("ValidationError", fmt::format("ResourceType {} is not auto-scaling-group", *tag.resource_type));
  }
  return need(tag.resource_id, "tags.resourceId");
}

// ---------------------------------------------------------------------------------------------------------- groups

void serve_groups(Handlers& handlers, Autoscaling& service) {
  handlers.on<message::CreateAutoScalingGroup>([&](const Call&, const auto& input) {
    GroupSettings settings = refusing([&] { return settings_of(input); });
    std::vector<Tag> tags;
    for (const message::Tag& tag : input.tags) tags.push_back(tag_of(tag));
    service.create(need(input.auto_scaling_group_name, "autoScalingGroupName"), settings, input.target_group_arns,
                   tags);
    return wire::Empty{};
  });
  handlers.on<message::UpdateAutoScalingGroup>([&](const Call&, const auto& input) {
    GroupSettings settings = refusing([&] { return settings_of(input); });
    service.update(need(input.auto_scaling_group_name, "autoScalingGroupName"), settings);
    return wire::Empty{};
  });
  handlers.on<message::DeleteAutoScalingGroup>([&](const Call&, const auto& input) {
    service.remove(need(input.auto_scaling_group_name, "autoScalingGroupName"), input.force_delete.value_or(false));
    return wire::Empty{};
  });
  handlers.on<message::SetDesiredCapacity>([&](const Call&, const auto& input) {
    service.set_desired(need(input.auto_scaling_group_name, "autoScalingGroupName"),
                        number_of(need(input.desired_capacity, "desiredCapacity"), "DesiredCapacity"),
                        input.honor_cooldown.value_or(false));
    return wire::Empty{};
  });
  handlers.on<message::DescribeAutoScalingGroups>([&](const Call&, const auto& input) {
    std::vector<const Group*> groups;
    for (const Group* group : service.groups()) {
      bool named = input.auto_scaling_group_names.empty() || holds(input.auto_scaling_group_names, group->name);
      if (named && passes(*group, input.filters)) groups.push_back(group);
    }
    message::AutoScalingGroupsType answer;
    answer.next_token = take_page(groups, input.next_token, input.max_records, 50, 100);
    for (const Group* group : groups) {
      answer.auto_scaling_groups.push_back(message_of(*group, input.include_instances.value_or(true)));
    }
    return answer;
  });
}

// ------------------------------------------------------------------------------------------------------- instances

void serve_instances(Handlers& handlers, Autoscaling& service) {
  handlers.on<message::DescribeAutoScalingInstances>([&](const Call&, const auto& input) {
    std::vector<std::pair<const Group*, const Member*>> members;
    auto add = [&](const Group& group, const std::string* id) {
      for (const Member& member : group.members) {
        if (id == nullptr ? !member.instance_id.empty() : member.instance_id == *id)
          members.emplace_back(&group, &member);
      }
    };
    if (input.instance_ids.empty()) {
      for (const Group* group : service.groups()) add(*group, nullptr);
    }
    for (const std::string& id : input.instance_ids) {
      if (const Group* group = service.group_of(id)) add(*group, &id);
    }
    message::AutoScalingInstancesType answer;
    answer.next_token = take_page(members, input.next_token, input.max_records, 50, 50);
    for (const auto& [group, member] : members) {
      answer.auto_scaling_instances.push_back(message_of(*group, *member));
    }
    return answer;
  });
  handlers.on<message::TerminateInstanceInAutoScalingGroup>([&](const Call&, const auto& input) {
    refusing([&] {
      only<message::TerminateInstanceInAutoScalingGroup>(input, {"InstanceId", "ShouldDecrementDesiredCapacity"});
    });
    message::ActivityType answer;
    answer.activity = message_of(
        service.terminate_instance(need(input.instance_id, "instanceId"),
                                   need(input.should_decrement_desired_capacity, "shouldDecrementDesiredCapacity")));
    return answer;
  });
  handlers.on<message::EnterStandby>([&](const Call&, const auto& input) {
    message::EnterStandbyAnswer answer;
    for (const Activity& activity :
         service.enter_standby(need(input.auto_scaling_group_name, "autoScalingGroupName"), input.instance_ids,
                               need(input.should_decrement_desired_capacity, "shouldDecrementDesiredCapacity"))) {
      answer.activities.push_back(message_of(activity));
    }
    return answer;
  });
  handlers.on<message::ExitStandby>([&](const Call&, const auto& input) {
    message::ExitStandbyAnswer answer;
    for (const Activity& activity :
         service.exit_standby(need(input.auto_scaling_group_name, "autoScalingGroupName"), input.instance_ids)) {
      answer.activities.push_back(message_of(activity));
    }
    return answer;
  });
  handlers.on<message::SetInstanceHealth>([&](const Call&, const auto& input) {
    const std::string& status = need(input.health_status, "healthStatus");
    if (status != "Healthy" && status != "Unhealthy") {
      throw ApiError("ValidationError", fmt::format("'{}' is not a valid health status; Healthy or Unhealthy", status));
    }
    service.set_instance_health(need(input.instance_id, "instanceId"), status == "Healthy",
                                input.should_respect_grace_period.value_or(true));
    return wire::Empty{};
  });
  handlers.on<message::DescribeScalingActivities>([&](const Call&, const auto& input) {
    std::vector<const Activity*> activities =
        service.activities(input.auto_scaling_group_name, input.include_deleted_groups.value_or(false));
    std::erase_if(activities, [&](const Activity* activity) {
      bool named = input.activity_ids.empty() || holds(input.activity_ids, activity->id);
      return !named || !passes(*activity, input.filters);
    });
    message::ActivitiesType answer;
    answer.next_token = take_page(activities, input.next_token, input.max_records, 100, 100);
    for (const Activity* activity : activities) answer.activities.push_back(message_of(*activity));
    return answer;
  });
}

// ------------------------------------------------------------------------------------------------------- refreshes

void serve_refreshes(Handlers& handlers, Autoscaling& service) {
  handlers.on<message::StartInstanceRefresh>([&](const Call&, const auto& input) {
    if (input.strategy.value_or("Rolling") != "Rolling") {
      throw ApiError("ValidationError",
                     fmt::format("The strategy {} is not supported by this region", *input.strategy));
    }
    RefreshPreferences preferences;
    if (input.preferences) preferences = refusing([&] { return preferences_of(*input.preferences); });
    std::optional<TemplateRef> desired;
    if (input.desired_configuration) {
      refusing([&] {
        only_within(*message::StartInstanceRefresh::operation().input, "DesiredConfiguration",
                    &*input.desired_configuration, {"LaunchTemplate"});
      });
      if (input.desired_configuration->launch_template) {
        desired = template_of(*input.desired_configuration->launch_template);
      }
    }
    message::StartInstanceRefreshAnswer answer;
    answer.instance_refresh_id =
        service.start_refresh(need(input.auto_scaling_group_name, "autoScalingGroupName"), desired, preferences);
    return answer;
  });
  handlers.on<message::DescribeInstanceRefreshes>([&](const Call&, const auto& input) {
    std::vector<const Refresh*> refreshes =
        service.refreshes(need(input.auto_scaling_group_name, "autoScalingGroupName"));
    std::erase_if(refreshes, [&](const Refresh* refresh) {
      return !input.instance_refresh_ids.empty() && !holds(input.instance_refresh_ids, refresh->id);
    });
    message::DescribeInstanceRefreshesAnswer answer;
    answer.next_token = take_page(refreshes, input.next_token, input.max_records, 50, 100);
    for (const Refresh* refresh : refreshes) answer.instance_refreshes.push_back(message_of(*refresh));
    return answer;
  });
  handlers.on<message::CancelInstanceRefresh>([&](const Call&, const auto& input) {
    message::CancelInstanceRefreshAnswer answer;
    answer.instance_refresh_id = service.cancel_refresh(need(input.auto_scaling_group_name, "autoScalingGroupName"),
                                                        input.wait_for_transitioning_instances.value_or(true));
    return answer;
  });
  handlers.on<message::RollbackInstanceRefresh>([&](const Call&, const auto& input) {
    message::RollbackInstanceRefreshAnswer answer;
    answer.instance_refresh_id = service.roll_back_refresh(need(input.auto_scaling_group_name, "autoScalingGroupName"));
    return answer;
  });
}

// ------------------------------------------------------------------------------------------- tags and target groups

void serve_tags(Handlers& handlers, Autoscaling& service) {
  handlers.on<message::CreateOrUpdateTags>([&](const Call&, const auto& input) {
    std::vector<Autoscaling::GroupTag> tags;
    for (const message::Tag& tag : input.tags) tags.push_back({group_name(tag), tag_of(tag)});
    service.put_tags(tags);
    return wire::Empty{};
  });
  handlers.on<message::DeleteTags>([&](const Call&, const auto& input) {
    std::vector<Autoscaling::GroupTag> tags;
    for (const message::Tag& tag : input.tags) {
      need(tag.key, "tags.key");
      tags.push_back({group_name(tag), tag_of(tag)});
    }
    service.delete_tags(tags);
    return wire::Empty{};
  });
  handlers.on<message::DescribeTags>([&](const Call&, const auto& input) {
    message::TagsType answer;
    for (const Group* group : service.groups()) {
      for (const Tag& tag : group->tags) {
        message::TagDescription description = message_of(*group, tag);
        if (passes(description, input.filters)) answer.tags.push_back(std::move(description));
      }
    }
    answer.next_token = take_page(answer.tags, input.next_token, input.max_records, 50, 100);
    return answer;
  });
}

void serve_target_groups(Handlers& handlers, Autoscaling& service) {
  handlers.on<message::AttachLoadBalancerTargetGroups>([&](const Call&, const auto& input) {
    service.attach(need(input.auto_scaling_group_name, "autoScalingGroupName"), input.target_group_arns);
    return message::AttachLoadBalancerTargetGroupsResultType{};
  });
  handlers.on<message::DetachLoadBalancerTargetGroups>([&](const Call&, const auto& input) {
    service.detach(need(input.auto_scaling_group_name, "autoScalingGroupName"), input.target_group_arns);
    return message::DetachLoadBalancerTargetGroupsResultType{};
  });
  handlers.on<message::DescribeLoadBalancerTargetGroups>([&](const Call&, const auto& input) {
    std::vector<AttachedState> states =
        service.target_group_states(need(input.auto_scaling_group_name, "autoScalingGroupName"));
    message::DescribeLoadBalancerTargetGroupsResponse answer;
    answer.next_token = take_page(states, input.next_token, input.max_records, 100, 100);
    for (const AttachedState& state : states) {
      message::LoadBalancerTargetGroupState out;
      out.load_balancer_target_group_arn = state.target_group;
      out.state = state.state;
      answer.load_balancer_target_groups.push_back(std::move(out));
    }
    return answer;
  });
}

}  // namespace

void serve(Handlers& handlers, Autoscaling& service) {
  serve_groups(handlers, service);
  serve_instances(handlers, service);
  serve_refreshes(handlers, service);
  serve_tags(handlers, service);
  serve_target_groups(handlers, service);
}

}  // namespace kiln::region::autoscaling
