// Handlers of EC2: security groups and their rules.
#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "region/ec2/filters.h"
#include "region/ec2/handlers.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {
namespace {

namespace w = wire::ec2;

void check_cidr(const std::string& cidr) {
  std::size_t slash = cidr.find('/');
  auto bits = slash == std::string::npos ? std::nullopt : parse_int(cidr.substr(slash + 1));
  in_addr address{};
  if (!bits || *bits < 0 || *bits > 32 || ::inet_pton(AF_INET, cidr.substr(0, slash).c_str(), &address) != 1) {
    throw ApiError("InvalidParameterValue", fmt::format("CIDR block {} is malformed", cidr.substr(0, 100)));
  }
}

// The protocol by its name, as EC2 stores it; numbers are accepted too.
std::string protocol_of(const std::string& text) {
  std::string name = to_lower(text);
  if (name == "6") return "tcp";
  if (name == "17") return "udp";
  if (name == "1") return "icmp";
  if (name == "all") return "-1";
  if (name == "tcp" || name == "udp" || name == "icmp" || name == "-1") return name;
  throw ApiError("InvalidParameterValue", fmt::format("Invalid value '{}' for IP protocol. Unknown protocol.", text));
}

std::string group_of(const Ec2& ec2, const w::UserIdGroupPair& pair) {
  if (present(pair.group_id)) return ec2.security_group(*pair.group_id).id;
  const SecurityGroup* found = ec2.find_security_group(pair.group_name.value_or(""));
  if (found == nullptr) {
    throw ApiError("InvalidGroup.NotFound",
                   fmt::format("The security group '{}' does not exist", pair.group_name.value_or("")));
  }
  return found->id;
}

void check_ports(const Rule& rule) {
  if (rule.protocol != "tcp" && rule.protocol != "udp") return;
  if (rule.from_port < 0 || rule.to_port > 65535 || rule.from_port > rule.to_port) {
    throw ApiError("InvalidParameterValue",
                   fmt::format("Invalid TCP/UDP port range ({}:{})", rule.from_port, rule.to_port));
  }
}

// Its direction and its peer that is a group are the caller's to say.
Rule rule_of(const std::string& protocol, const std::optional<std::int64_t>& from,
             const std::optional<std::int64_t>& to, const std::string& cidr) {
  Rule rule;
  rule.protocol = protocol_of(protocol);
  rule.from_port = rule.protocol == "-1" ? -1 : from.value_or(-1);
  rule.to_port = rule.protocol == "-1" ? -1 : to.value_or(rule.protocol == "icmp" ? -1 : rule.from_port);
  rule.cidr = cidr;
  if (!cidr.empty()) check_cidr(cidr);
  check_ports(rule);
  return rule;
}

std::vector<Rule> rules_of_permissions(const Ec2& ec2, const std::vector<w::IpPermission>& permissions, bool egress) {
  std::vector<Rule> out;
  for (const w::IpPermission& permission : permissions) {
    if (!permission.ipv6_ranges.empty() || !permission.prefix_list_ids.empty()) {
      throw ApiError("UnsupportedOperation", "IPv6 ranges and prefix lists are not supported by this region");
    }
    const auto add = [&](const std::string& cidr, const std::string& group, const std::optional<std::string>& about) {
      Rule& rule = out.emplace_back(
          rule_of(permission.ip_protocol.value_or(""), permission.from_port, permission.to_port, cidr));
      rule.egress = egress;
      rule.group_id = group;
      rule.description = about.value_or("");
    };
    for (const w::IpRange& range : permission.ip_ranges) add(range.cidr_ip.value_or(""), "", range.description);
    for (const w::UserIdGroupPair& pair : permission.user_id_group_pairs) {
      add("", group_of(ec2, pair), pair.description);
    }
  }
  return out;
}

// Both ways of saying rules: IpPermissions, and the flat parameters for one rule.
template <typename Input>
std::vector<Rule> rules_of(const Ec2& ec2, const Input& input, bool egress) {
  std::vector<Rule> out;
  const auto flat = [&](const std::string& cidr) -> Rule& {
    Rule& rule = out.emplace_back(rule_of(input.ip_protocol.value_or("-1"), input.from_port, input.to_port, cidr));
    rule.egress = egress;
    return rule;
  };
  if (present(input.cidr_ip)) flat(*input.cidr_ip);
  if (present(input.source_security_group_name)) {
    w::UserIdGroupPair pair;
    pair.group_name = input.source_security_group_name;
    flat("").group_id = group_of(ec2, pair);
  }
  for (Rule& rule : rules_of_permissions(ec2, input.ip_permissions, egress)) out.push_back(std::move(rule));
  return out;
}

std::string named(const Ec2& ec2, const std::optional<std::string>& id, const std::optional<std::string>& name) {
  if (present(id)) return *id;
  const SecurityGroup* found = ec2.find_security_group(name.value_or(""));
  if (found != nullptr) return found->id;
  if (!present(name)) throw ApiError("MissingParameter", "The request must contain the parameter groupName or groupId");
  throw ApiError("InvalidGroup.NotFound", fmt::format("The security group '{}' does not exist in default VPC", *name));
}

std::vector<w::IpPermission> permissions_of(const std::string& account, const SecurityGroup& group, bool egress) {
  std::vector<w::IpPermission> out;
  for (const Rule& rule : group.rules) {
    if (rule.egress != egress) continue;
    auto same = [&](const w::IpPermission& one) {
      return one.ip_protocol == rule.protocol && one.from_port.value_or(-1) == rule.from_port &&
             one.to_port.value_or(-1) == rule.to_port;
    };
    auto it = std::find_if(out.begin(), out.end(), same);
    if (it == out.end()) {
      it = out.insert(out.end(), w::IpPermission{});
      it->ip_protocol = rule.protocol;
      if (rule.protocol != "-1") {
        it->from_port = rule.from_port;
        it->to_port = rule.to_port;
      }
    }
    if (!rule.cidr.empty()) {
      w::IpRange& range = it->ip_ranges.emplace_back();
      range.cidr_ip = rule.cidr;
      if (!rule.description.empty()) range.description = rule.description;
    } else {
      w::UserIdGroupPair& pair = it->user_id_group_pairs.emplace_back();
      pair.group_id = rule.group_id;
      pair.user_id = account;
      if (!rule.description.empty()) pair.description = rule.description;
    }
  }
  return out;
}

w::SecurityGroupRule to_wire(const std::string& account, const std::string& group_id, const Rule& rule) {
  w::SecurityGroupRule out;
  out.security_group_rule_id = rule.id;
  out.group_id = group_id;
  out.group_owner_id = account;
  out.is_egress = rule.egress;
  out.ip_protocol = rule.protocol;
  out.from_port = rule.from_port;
  out.to_port = rule.to_port;
  if (!rule.cidr.empty()) out.cidr_ipv4 = rule.cidr;
  if (!rule.group_id.empty()) {
    out.referenced_group_info.emplace().group_id = rule.group_id;
    out.referenced_group_info->user_id = account;
  }
  if (!rule.description.empty()) out.description = rule.description;
  return out;
}

std::string arn_of(const Ec2& ec2, const std::string& id) {
  return fmt::format("arn:aws:ec2:{}:{}:security-group/{}", ec2.options().region, ec2.options().account, id);
}

w::SecurityGroup to_wire(const Ec2& ec2, const SecurityGroup& group) {
  w::SecurityGroup out;
  out.group_id = group.id;
  out.group_name = group.name;
  out.description = group.description;
  out.vpc_id = group.vpc_id;
  out.owner_id = ec2.options().account;
  out.security_group_arn = arn_of(ec2, group.id);
  out.ip_permissions = permissions_of(ec2.options().account, group, false);
  out.ip_permissions_egress = permissions_of(ec2.options().account, group, true);
  out.tags = kiln::region::ec2::to_wire(group.tags);
  return out;
}

// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSecurityGroups.html
std::optional<std::vector<std::string>> filter_values(const Ec2& ec2, const SecurityGroup& group,
                                                      const std::string& name) {
  using Values = std::vector<std::string>;
  if (name == "group-id") return Values{group.id};
  if (name == "group-name") return Values{group.name};
  if (name == "description") return Values{group.description};
  if (name == "vpc-id") return Values{group.vpc_id};
  if (name == "owner-id") return Values{ec2.options().account};
  bool egress = name.starts_with("egress.ip-permission.");
  if (!egress && !name.starts_with("ip-permission.")) return std::nullopt;
  std::string field = name.substr(name.find("ip-permission.") + 14);
  const auto value_of = [&](const Rule& rule) -> std::optional<std::string> {
    if (field == "cidr") return rule.cidr;
    if (field == "from-port") return std::to_string(rule.from_port);
    if (field == "to-port") return std::to_string(rule.to_port);
    if (field == "protocol") return rule.protocol;
    if (field == "group-id") return rule.group_id;
    if (field == "user-id") return rule.group_id.empty() ? "" : ec2.options().account;
    if (field == "ipv6-cidr" || field == "prefix-list-id") return "";
    if (field != "group-name") return std::nullopt;
    return rule.group_id.empty() ? "" : ec2.security_group(rule.group_id).name;
  };
  if (!value_of(Rule{})) return std::nullopt;
  Values values;
  for (const Rule& rule : group.rules) {
    const std::optional<std::string> value = rule.egress == egress ? value_of(rule) : std::nullopt;
    if (value && !value->empty()) values.push_back(*value);
  }
  return values;
}

void describe(Handlers& handlers, Ec2& ec2) {
  handlers.on<w::DescribeSecurityGroups>([&ec2](const Call&, const w::DescribeSecurityGroupsRequest& input) {
    only<w::DescribeSecurityGroups>(input, {"GroupIds", "GroupNames", "Filters", "MaxResults", "NextToken"});
    static const SecurityGroup kNone;
    check_names(input.filters, [&](const std::string& name) { return filter_values(ec2, kNone, name); });
    std::vector<std::string> wanted;
    for (const std::string& id : input.group_ids) wanted.push_back(ec2.security_group(id).id);
    for (const std::string& name : input.group_names) wanted.push_back(named(ec2, std::nullopt, name));
    w::DescribeSecurityGroupsResult answer;
    Page page(input.max_results, input.next_token);
    for (const auto& [id, group] : ec2.security_groups()) {
      if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), id) == wanted.end()) continue;
      const SecurityGroup& one = group;
      if (!matches(input.filters, one.tags, [&](const std::string& name) { return filter_values(ec2, one, name); }))
        continue;
      if (page.takes(id)) answer.security_groups.push_back(to_wire(ec2, one));
    }
    answer.next_token = page.next_token();
    return answer;
  });
  handlers.on<w::DescribeSecurityGroupRules>(
      [&ec2](const Call& call, const w::DescribeSecurityGroupRulesRequest& input) {
        only<w::DescribeSecurityGroupRules>(input, {"SecurityGroupRuleIds", "Filters", "MaxResults", "NextToken"});
        // Rules have no tags here, so these two and those of tags are all that AWS has.
        auto values = [](const std::string& group, const Rule& rule,
                         const std::string& name) -> std::optional<std::vector<std::string>> {
          if (name == "group-id") return std::vector<std::string>{group};
          if (name == "security-group-rule-id") return std::vector<std::string>{rule.id};
          return std::nullopt;
        };
        check_names(input.filters, [&](const std::string& name) { return values("", Rule{}, name); });
        for (const std::string& id : input.security_group_rule_ids) {
          const auto holds = [&](const auto& entry) {
            const std::vector<Rule>& rules = entry.second.rules;
            return std::any_of(rules.begin(), rules.end(), [&](const Rule& rule) { return rule.id == id; });
          };
          if (std::any_of(ec2.security_groups().begin(), ec2.security_groups().end(), holds)) continue;
          throw ApiError("InvalidSecurityGroupRuleId.NotFound",
                         fmt::format("The security group rule ID '{}' does not exist", id));
        }
        std::map<std::string, w::SecurityGroupRule> found;
        for (const auto& [id, group] : ec2.security_groups()) {
          for (const Rule& rule : group.rules) {
            const std::vector<std::string>& ids = input.security_group_rule_ids;
            if (!ids.empty() && std::find(ids.begin(), ids.end(), rule.id) == ids.end()) continue;
            const std::string& group_id = id;
            if (matches(input.filters, {}, [&](const std::string& name) { return values(group_id, rule, name); })) {
              found[rule.id] = to_wire(call.account, id, rule);
            }
          }
        }
        w::DescribeSecurityGroupRulesResult answer;
        Page page(input.max_results, input.next_token);
        for (auto& [id, rule] : found) {
          if (page.takes(id)) answer.security_group_rules.push_back(std::move(rule));
        }
        answer.next_token = page.next_token();
        return answer;
      });
}

template <class Op>
void authorize(Handlers& handlers, Ec2& ec2, bool egress) {
  handlers.on<Op>([&ec2, egress](const Call& call, const typename Op::Input& input) {
    std::string group_id;
    if constexpr (requires { input.group_name; }) {
      group_id = named(ec2, input.group_id, input.group_name);
    } else {
      group_id = input.group_id.value_or("");
    }
    ec2.security_group(group_id);
    std::vector<Rule> rules = rules_of(ec2, input, egress);
    if (rules.empty()) throw ApiError("MissingParameter", "The request must contain the parameter ipPermissions");
    Tags tags = tags_for(input.tag_specifications, "security-group-rule");
    if (!tags.empty()) throw ApiError("UnsupportedOperation", "Tags of rules are not supported by this region");
    typename Op::Output answer;
    answer.return_ = true;
    for (const Rule& rule : ec2.authorize(group_id, rules)) {
      answer.security_group_rules.push_back(to_wire(call.account, group_id, rule));
    }
    return answer;
  });
}

template <class Op>
void revoke(Handlers& handlers, Ec2& ec2, bool egress) {
  handlers.on<Op>([&ec2, egress](const Call&, const typename Op::Input& input) {
    std::string group_id;
    if constexpr (requires { input.group_name; }) {
      group_id = named(ec2, input.group_id, input.group_name);
    } else {
      group_id = input.group_id.value_or("");
    }
    ec2.security_group(group_id);
    if (!input.security_group_rule_ids.empty()) {
      ec2.revoke_by_id(group_id, egress, input.security_group_rule_ids);
    } else {
      ec2.revoke(group_id, rules_of(ec2, input, egress));
    }
    typename Op::Output answer;
    answer.return_ = true;
    return answer;
  });
}

}  // namespace

namespace {

void check_peer_kind(const w::SecurityGroupRuleRequest& wanted) {
  if (present(wanted.cidr_ipv6) || present(wanted.prefix_list_id)) {
    throw ApiError("UnsupportedOperation", "IPv6 ranges and prefix lists are not supported by this region");
  }
  if (present(wanted.cidr_ipv4) == present(wanted.referenced_group_id)) {
    throw ApiError("InvalidParameterCombination",
                   "A rule has exactly one of cidrIpv4, cidrIpv6, prefixListId and referencedGroupId");
  }
}

void modify_rules(Handlers& handlers, Ec2& ec2) {
  handlers.on<w::ModifySecurityGroupRules>([&ec2](const Call&, const w::ModifySecurityGroupRulesRequest& input) {
    const std::string group = input.group_id.value_or("");
    ec2.security_group(group);
    std::vector<Rule> rules;
    for (const w::SecurityGroupRuleUpdate& update : input.security_group_rules) {
      const w::SecurityGroupRuleRequest wanted = update.security_group_rule.value_or(w::SecurityGroupRuleRequest{});
      check_peer_kind(wanted);
      Rule& rule = rules.emplace_back(
          rule_of(wanted.ip_protocol.value_or(""), wanted.from_port, wanted.to_port, wanted.cidr_ipv4.value_or("")));
      rule.id = update.security_group_rule_id.value_or("");
      rule.group_id = wanted.referenced_group_id.value_or("");
      rule.description = wanted.description.value_or("");
    }
    ec2.modify_rules(group, rules);
    w::ModifySecurityGroupRulesResult answer;
    answer.return_ = true;
    return answer;
  });
}

template <class Op>
void describe_rules(Handlers& handlers, Ec2& ec2, bool egress) {
  handlers.on<Op>([&ec2, egress](const Call&, const typename Op::Input& input) {
    const std::string group = named(ec2, input.group_id, input.group_name);
    ec2.security_group(group);
    std::vector<Rule> rules = rules_of_permissions(ec2, input.ip_permissions, egress);
    for (const w::SecurityGroupRuleDescription& one : input.security_group_rule_descriptions) {
      Rule& rule = rules.emplace_back();
      rule.id = one.security_group_rule_id.value_or("");
      rule.egress = egress;
      rule.description = one.description.value_or("");
    }
    ec2.describe_rules(group, rules);
    typename Op::Output answer;
    answer.return_ = true;
    return answer;
  });
}

}  // namespace

void serve_security_groups(Handlers& handlers, Ec2& ec2) {
  handlers.on<w::CreateSecurityGroup>([&ec2](const Call&, const w::CreateSecurityGroupRequest& input) {
    only<w::CreateSecurityGroup>(input, {"GroupName", "Description", "VpcId", "TagSpecifications"});
    const SecurityGroup& made =
        ec2.create_security_group(input.group_name.value_or(""), input.description.value_or(""),
                                  input.vpc_id.value_or(""), tags_for(input.tag_specifications, "security-group"));
    w::CreateSecurityGroupResult answer;
    answer.group_id = made.id;
    answer.security_group_arn = arn_of(ec2, made.id);
    answer.tags = to_wire(made.tags);
    return answer;
  });
  handlers.on<w::DeleteSecurityGroup>([&ec2](const Call&, const w::DeleteSecurityGroupRequest& input) {
    only<w::DeleteSecurityGroup>(input, {"GroupId", "GroupName"});
    std::string id = named(ec2, input.group_id, input.group_name);
    ec2.delete_security_group(id);
    w::DeleteSecurityGroupResult answer;
    answer.return_ = true;
    answer.group_id = id;
    return answer;
  });
  describe(handlers, ec2);
  authorize<w::AuthorizeSecurityGroupIngress>(handlers, ec2, false);
  authorize<w::AuthorizeSecurityGroupEgress>(handlers, ec2, true);
  revoke<w::RevokeSecurityGroupIngress>(handlers, ec2, false);
  revoke<w::RevokeSecurityGroupEgress>(handlers, ec2, true);
  modify_rules(handlers, ec2);
  describe_rules<w::UpdateSecurityGroupRuleDescriptionsIngress>(handlers, ec2, false);
  describe_rules<w::UpdateSecurityGroupRuleDescriptionsEgress>(handlers, ec2, true);
}

}  // namespace kiln::region::ec2
