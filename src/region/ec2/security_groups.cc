// Security groups: who may reach an instance. Changes take effect at once, for instances that run too.
#include <fmt/format.h>

#include <algorithm>

#include "region/api_error.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {
namespace {

constexpr std::size_t kRulesMax = 60;  // AWS's default quota, each way

std::string describe(const Rule& rule) {
  std::string peer = rule.cidr.empty() ? rule.group_id : rule.cidr;
  if (rule.protocol == "-1") return fmt::format("peer: {}, ALL, ALLOW", peer);
  return fmt::format("peer: {}, {}, from port: {}, to port: {}, ALLOW", peer, rule.protocol, rule.from_port,
                     rule.to_port);
}

}  // namespace

SecurityGroup& Ec2::State::find_group(const std::string& id) {
  auto it = groups.find(id);
  if (it != groups.end()) return it->second;
  if (!well_formed(id, "sg-")) throw ApiError("InvalidGroupId.Malformed", fmt::format("Invalid id: \"{}\"", id));
  throw ApiError("InvalidGroup.NotFound", fmt::format("The security group '{}' does not exist", id));
}

const SecurityGroup& Ec2::create_security_group(const std::string& name, const std::string& description,
                                                const std::string& vpc_id, const Tags& tags) {
  State& s = *state_;
  const Vpc& vpc = vpc_id.empty() ? s.vpcs.default_vpc() : s.vpcs.vpc(vpc_id);
  if (name.empty() || name.size() > 255 || name.starts_with("sg-")) {
    throw ApiError(
        "InvalidParameterValue",
        fmt::format("Invalid value '{}' for groupName: it has 1 to 255 characters and does not begin with sg-", name));
  }
  if (find_security_group(name, vpc.id) != nullptr) {
    throw ApiError("InvalidGroup.Duplicate",
                   fmt::format("The security group '{}' already exists for VPC '{}'", name, vpc.id));
  }
  check_tags(tags);
  SecurityGroup group;
  group.id = s.new_id("sg-");
  group.name = name;
  group.description = description;
  group.vpc_id = vpc.id;
  group.tags = tags;
  group.rules = {{s.new_id("sgr-"), true, "-1", -1, -1, "0.0.0.0/0", "", ""}};
  SecurityGroup& kept = s.groups[group.id] = group;
  s.save(kept);
  return kept;
}

void Ec2::delete_security_group(const std::string& id) {
  State& s = *state_;
  SecurityGroup& group = s.find_group(id);
  if (group.name == kDefaultGroup)
    throw ApiError("CannotDelete", "the specified group: \"" + id + "\" name: \"default\" cannot be deleted by a user");
  auto depends = [&](const auto& one) {
    return std::find(one.security_groups.begin(), one.security_groups.end(), id) != one.security_groups.end();
  };
  bool used = s.balancer_uses && s.balancer_uses(id);
  for (const auto& [key, instance] : s.instances) used = used || (instance.on_network() && depends(instance));
  for (const auto& [key, other] : s.groups) {
    if (key == id) continue;
    for (const Rule& rule : other.rules) used = used || rule.group_id == id;
  }
  if (used) throw ApiError("DependencyViolation", fmt::format("resource {} has a dependent object", id));
  s.groups.erase(id);
  s.journal.erase(kGroupTable, id);
}

const std::map<std::string, SecurityGroup>& Ec2::security_groups() const { return state_->groups; }
const SecurityGroup& Ec2::security_group(const std::string& id) const { return state_->find_group(id); }

const SecurityGroup* Ec2::find_security_group(const std::string& name, const std::string& vpc_id) const {
  const std::string& vpc = vpc_id.empty() ? state_->vpcs.default_vpc_id() : vpc_id;
  for (const auto& [id, group] : state_->groups) {
    if (group.name == name && group.vpc_id == vpc) return &group;
  }
  return nullptr;
}

std::string Ec2::default_security_group_id(const std::string& vpc_id) const {
  return find_security_group(kDefaultGroup, vpc_id)->id;
}

void Ec2::State::make_default_group(const std::string& id, const std::string& vpc_id) {
  SecurityGroup group;
  group.id = id;
  group.name = kDefaultGroup;
  group.description = "default VPC security group";
  group.vpc_id = vpc_id;
  group.rules = {{new_id("sgr-"), false, "-1", -1, -1, "", id, ""},
                 {new_id("sgr-"), true, "-1", -1, -1, "0.0.0.0/0", "", ""}};
  save(groups[id] = group);
}

void Ec2::State::check_peer(const SecurityGroup& group, const Rule& rule) {
  if (rule.group_id.empty() || find_group(rule.group_id).vpc_id == group.vpc_id) return;
  throw ApiError("InvalidGroup.NotFound",
                 fmt::format("You have specified two resources that belong to different networks: {} and {}", group.id,
                             rule.group_id));
}

std::vector<Rule> Ec2::authorize(const std::string& group_id, std::vector<Rule> rules) {
  State& s = *state_;
  SecurityGroup& group = s.find_group(group_id);
  for (const Rule& rule : rules) {
    if (std::count_if(rules.begin(), rules.end(), [&](const Rule& one) { return one.same_traffic(rule); }) > 1) {
      throw ApiError("InvalidParameterValue", "The same permission must not appear multiple times");
    }
    s.check_peer(group, rule);
    for (const Rule& other : group.rules) {
      if (other.same_traffic(rule)) {
        throw ApiError("InvalidPermission.Duplicate",
                       fmt::format("the specified rule \"{}\" already exists", describe(rule)));
      }
    }
  }
  if (group.rules.size() + rules.size() > 2 * kRulesMax) {
    throw ApiError("RulesPerSecurityGroupLimitExceeded",
                   "The maximum number of rules per security group has been reached.");
  }
  for (Rule& rule : rules) {
    rule.id = s.new_id("sgr-");
    group.rules.push_back(rule);
  }
  s.save(group);
  s.network_changed();
  return rules;
}

void Ec2::revoke(const std::string& group_id, const std::vector<Rule>& rules) {
  SecurityGroup& group = state_->find_group(group_id);
  std::vector<Rule> left = group.rules;
  for (const Rule& rule : rules) {
    auto it = std::find_if(left.begin(), left.end(), [&](const Rule& one) { return one.same_traffic(rule); });
    if (it == left.end()) {
      throw ApiError("InvalidPermission.NotFound", "The specified rule does not exist in this security group.");
    }
    left.erase(it);
  }
  group.rules = left;
  state_->save(group);
  state_->network_changed();
}

void Ec2::revoke_by_id(const std::string& group_id, bool egress, const std::vector<std::string>& rule_ids) {
  SecurityGroup& group = state_->find_group(group_id);
  std::vector<Rule> rules;
  for (const std::string& id : rule_ids) {
    auto it = std::find_if(group.rules.begin(), group.rules.end(),
                           [&](const Rule& rule) { return rule.id == id && rule.egress == egress; });
    if (it == group.rules.end()) {
      throw ApiError("InvalidSecurityGroupRuleId.NotFound",
                     fmt::format("The security group rule ID '{}' does not exist", id));
    }
    rules.push_back(*it);
  }
  revoke(group_id, rules);
}

void Ec2::modify_rules(const std::string& group_id, const std::vector<Rule>& rules) {
  SecurityGroup changed = state_->find_group(group_id);
  for (const Rule& rule : rules) {
    const auto it =
        std::find_if(changed.rules.begin(), changed.rules.end(), [&](const Rule& one) { return one.id == rule.id; });
    if (it == changed.rules.end()) {
      throw ApiError("InvalidSecurityGroupRuleId.NotFound",
                     fmt::format("The security group rule ID '{}' does not exist", rule.id));
    }
    state_->check_peer(changed, rule);
    const bool egress = it->egress;
    *it = rule;
    it->egress = egress;
  }
  for (const Rule& rule : changed.rules) {
    const auto same = [&](const Rule& one) { return one.same_traffic(rule); };
    if (std::count_if(changed.rules.begin(), changed.rules.end(), same) > 1) {
      throw ApiError("InvalidPermission.Duplicate",
                     fmt::format("the specified rule \"{}\" already exists", describe(rule)));
    }
  }
  SecurityGroup& kept = state_->find_group(group_id) = changed;
  state_->save(kept);
  state_->network_changed();
}

void Ec2::describe_rules(const std::string& group_id, const std::vector<Rule>& rules) {
  SecurityGroup changed = state_->find_group(group_id);
  for (const Rule& rule : rules) {
    const auto it = std::find_if(changed.rules.begin(), changed.rules.end(), [&](const Rule& one) {
      return rule.id.empty() ? one.same_traffic(rule) : one.id == rule.id && one.egress == rule.egress;
    });
    if (it == changed.rules.end()) {
      throw ApiError("InvalidPermission.NotFound", "The specified rule does not exist in this security group.");
    }
    it->description = rule.description;
  }
  state_->save(state_->find_group(group_id) = changed);
}

}  // namespace kiln::region::ec2
