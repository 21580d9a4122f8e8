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
  if (!vpc_id.empty() && vpc_id != s.vpc.id) {
    throw ApiError("InvalidVpcID.NotFound", fmt::format("The vpc ID '{}' does not exist", vpc_id));
  }
  if (name.empty() || name.size() > 255 || name.starts_with("sg-")) {
    throw ApiError(
        "InvalidParameterValue",
        fmt::format("Invalid value '{}' for groupName: it has 1 to 255 characters and does not begin with sg-", name));
  }
  if (name == "default" || find_security_group(name) != nullptr) {
    throw ApiError("InvalidGroup.Duplicate",
                   fmt::format("The security group '{}' already exists for VPC '{}'", name, s.vpc.id));
  }
  check_tags(tags);
  SecurityGroup group;
  group.id = s.new_id("sg-");
  group.name = name;
  group.description = description;
  group.vpc_id = s.vpc.id;
  group.tags = tags;
  group.rules = {{s.new_id("sgr-"), true, "-1", -1, -1, "0.0.0.0/0", "", ""}};
  SecurityGroup& kept = s.groups[group.id] = group;
  s.save(kept);
  return kept;
}

void Ec2::delete_security_group(const std::string& id) {
  State& s = *state_;
  SecurityGroup& group = s.find_group(id);
  if (group.name == "default")
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

const SecurityGroup* Ec2::find_security_group(const std::string& name) const {
  for (const auto& [id, group] : state_->groups) {
    if (group.name == name) return &group;
  }
  return nullptr;
}

std::vector<Rule> Ec2::authorize(const std::string& group_id, std::vector<Rule> rules) {
  State& s = *state_;
  SecurityGroup& group = s.find_group(group_id);
  for (const Rule& rule : rules) {
    if (std::count_if(rules.begin(), rules.end(), [&](const Rule& one) { return one.same_traffic(rule); }) > 1) {
      throw ApiError("InvalidParameterValue", "The same permission must not appear multiple times");
    }
    if (!rule.group_id.empty()) s.find_group(rule.group_id);
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

}  // namespace kiln::region::ec2
