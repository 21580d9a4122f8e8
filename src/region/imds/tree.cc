// Tree: see tree.h.
#include "region/imds/tree.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/encoding.h"
#include "base/text.h"

namespace kiln::region::imds {
namespace {

using nlohmann::ordered_json;

// "2026-11-24T03:01:56Z"
std::string seconds_of(Time time) { return format_iso8601(time).substr(0, 19) + "Z"; }

std::string private_name(const ec2::Instance& instance) {
  std::string name = "ip-" + instance.private_address;
  std::replace(name.begin(), name.end(), '.', '-');
  return name + ".ec2.internal";
}

std::string group_names(const ec2::Ec2& ec2, const ec2::Instance& instance) {
  std::vector<std::string> names;
  for (const std::string& id : instance.security_groups) {
    const auto group = ec2.security_groups().find(id);
    if (group != ec2.security_groups().end()) names.push_back(group->second.name);
  }
  return join(names, "\n");
}

void add_interface(Tree& tree, const ec2::Ec2& ec2, const ec2::Instance& instance) {
  const std::string at = "meta-data/network/interfaces/macs/" + instance.mac + "/";
  tree[at + "device-number"] = "0";
  tree[at + "interface-id"] = instance.interface_id;
  tree[at + "local-hostname"] = private_name(instance);
  tree[at + "local-ipv4s"] = instance.private_address;
  tree[at + "mac"] = instance.mac;
  tree[at + "owner-id"] = ec2.options().account;
  if (!instance.public_address.empty()) {
    tree[at + "ipv4-associations/" + instance.public_address] = instance.private_address;
    tree[at + "public-hostname"] = instance.public_address;
    tree[at + "public-ipv4s"] = instance.public_address;
  }
  tree[at + "security-group-ids"] = join(instance.security_groups, "\n");
  tree[at + "security-groups"] = group_names(ec2, instance);
  tree[at + "subnet-id"] = instance.subnet_id;
  const ec2::Vpc& vpc = ec2.vpcs().vpc(instance.vpc_id);
  tree[at + "subnet-ipv4-cidr-block"] = ec2.vpcs().subnet(instance.subnet_id).cidr;
  tree[at + "vpc-id"] = vpc.id;
  tree[at + "vpc-ipv4-cidr-block"] = vpc.cidr;
  tree[at + "vpc-ipv4-cidr-blocks"] = vpc.cidr;
}

// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/iam-roles-for-amazon-ec2.html, with EC2's order of members.
void add_profile(Tree& tree, const ec2::ProfileAssociation& profile, const std::optional<iam::RoleCredentials>& role) {
  tree["meta-data/iam/info"] = ordered_json{
      {"Code", "Success"},
      {"LastUpdated", seconds_of(role ? role->updated : profile.since)},
      {"InstanceProfileArn", profile.arn},
      {"InstanceProfileId",
       profile.profile_id}}.dump(2);
  if (!role) return;  // a profile without a role
  tree["meta-data/iam/security-credentials/" + role->role] = ordered_json{
      {"Code", "Success"},
      {"LastUpdated", seconds_of(role->updated)},
      {"Type", "AWS-HMAC"},
      {"AccessKeyId", role->access_key},
      {"SecretAccessKey", role->secret_key},
      {"Token", role->token},
      {"Expiration", seconds_of(role->expiration)}}.dump(2);
}

std::string identity_document(const ec2::Ec2& ec2, const ec2::Instance& instance) {
  const ec2::InstanceType* type = ec2::find_instance_type(instance.type);
  const ordered_json document = {{"accountId", ec2.options().account},
                                 {"architecture", type == nullptr ? "x86_64" : type->architecture},
                                 {"availabilityZone", instance.zone},
                                 {"billingProducts", nullptr},
                                 {"devpayProductCodes", nullptr},
                                 {"marketplaceProductCodes", nullptr},
                                 {"imageId", instance.image_id},
                                 {"instanceId", instance.id},
                                 {"instanceType", instance.type},
                                 {"kernelId", nullptr},
                                 {"pendingTime", seconds_of(instance.launched)},
                                 {"privateIp", instance.private_address},
                                 {"ramdiskId", nullptr},
                                 {"region", ec2.options().region},
                                 {"version", "2017-09-30"}};
  return document.dump(2);
}

}  // namespace

Tree tree_of(const ec2::Ec2& ec2, const ec2::Instance& instance, const std::optional<iam::RoleCredentials>& role) {
  Tree tree;
  const auto meta = [&](const std::string& path, std::string text) { tree["meta-data/" + path] = std::move(text); };
  meta("ami-id", instance.image_id);
  meta("ami-launch-index", std::to_string(instance.launch_index));
  meta("ami-manifest-path", "(unknown)");
  meta("block-device-mapping/ami", "/dev/xvda");
  meta("block-device-mapping/root", "/dev/xvda");
  meta("events/maintenance/history", "[]");
  meta("events/maintenance/scheduled", "[]");
  meta("hostname", private_name(instance));
  meta("instance-action", "none");
  meta("instance-id", instance.id);
  meta("instance-life-cycle", "on-demand");
  meta("instance-type", instance.type);
  meta("local-hostname", private_name(instance));
  meta("local-ipv4", instance.private_address);
  meta("mac", instance.mac);
  meta("placement/availability-zone", instance.zone);
  meta("placement/availability-zone-id", ec2.vpcs().subnet(instance.subnet_id).zone_id);
  meta("placement/region", ec2.options().region);
  meta("profile", "default-hvm");
  if (!instance.public_address.empty()) {
    meta("public-hostname", instance.public_address);
    meta("public-ipv4", instance.public_address);
  }
  if (!instance.public_key.empty()) meta("public-keys/0/openssh-key", instance.public_key);
  meta("reservation-id", instance.reservation_id);
  meta("security-groups", group_names(ec2, instance));
  meta("services/domain", "amazonaws.com");
  meta("services/partition", "aws");
  meta("system", "xen");
  if (instance.metadata.tags) {
    for (const auto& [key, value] : instance.tags) meta("tags/instance/" + key, value);
  }
  add_interface(tree, ec2, instance);
  if (instance.profile) add_profile(tree, *instance.profile, role);
  tree["dynamic/instance-identity/document"] = identity_document(ec2, instance);
  if (!instance.user_data.empty()) tree["user-data"] = base64_decode(instance.user_data);
  return tree;
}

std::optional<std::string> read(const Tree& tree, const std::string& path) {
  if (const auto leaf = tree.find(path); leaf != tree.end()) return leaf->second;
  const std::string folder = path.empty() ? "" : path + "/";
  std::vector<std::string> names;
  for (auto it = tree.lower_bound(folder); it != tree.end() && it->first.starts_with(folder); ++it) {
    const std::string rest = it->first.substr(folder.size());
    const std::size_t slash = rest.find('/');
    // The three of a version's own folder have no slash, as EC2 lists them.
    std::string name = path.empty() ? rest.substr(0, slash) : rest.substr(0, slash == rest.npos ? slash : slash + 1);
    if (path == "meta-data/public-keys") {
      const std::string& line = it->second;  // "ssh-ed25519 AAAA.. name"
      name = "0=" + line.substr(line.find(' ', line.find(' ') + 1) + 1);
    }
    if (names.empty() || names.back() != name) names.push_back(name);
  }
  if (names.empty()) return std::nullopt;
  return join(names, "\n");
}

const std::vector<std::string>& versions() {
  static const std::vector<std::string> all = {
      "1.0",        "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01", "2008-09-01",
      "2009-04-04", "2011-01-01", "2011-05-01", "2012-01-12", "2014-02-25", "2014-11-05", "2015-10-20", "2016-04-19",
      "2016-06-30", "2016-09-02", "2018-03-28", "2018-08-17", "2018-09-24", "2019-10-01", "2020-10-27", "2021-01-03",
      "2021-03-23", "2021-07-15", "2022-09-24", "2024-04-11", "latest"};
  return all;
}

}  // namespace kiln::region::imds
