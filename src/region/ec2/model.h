// Model: what EC2 keeps: instances, images, launch templates, security groups, key pairs, the default network. Values
// only, no wire types, no behaviour.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/time.h"
#include "region/ec2/disk_model.h"
#include "store/image.h"

namespace kiln::region::ec2 {

// With AWS's codes (InstanceState$Code).
enum class InstanceState {
  pending = 0,
  running = 16,
  shutting_down = 32,
  terminated = 48,
  stopping = 64,
  stopped = 80
};
std::string_view to_string(InstanceState state);

// An instance profile as a caller names it: by one of both.
struct ProfileSpec {
  std::string arn;
  std::string name;
  bool operator==(const ProfileSpec&) const = default;
};

// What IAM says of one.
struct InstanceProfile {
  std::string arn;
  std::string id;  // "AIPA.."
  bool has_role = false;
};

// An instance's.
struct ProfileAssociation {
  std::string id;  // "iip-assoc-.."
  std::string arn;
  std::string profile_id;
  Time since{};
};

// The one network interface of an instance, where it is described rather than its subnet and groups.
struct InterfaceData {
  std::optional<std::string> subnet_id;
  std::optional<std::string> private_address;
  std::optional<std::string> description;
  std::optional<bool> public_address;  // AssociatePublicIpAddress
  std::vector<std::string> security_group_ids;
  bool operator==(const InterfaceData&) const = default;
};

// What a request says of the metadata service's options; the rest stays as it is.
struct MetadataWish {
  std::optional<std::string> tokens;    // "optional", "required"
  std::optional<std::string> endpoint;  // "enabled", "disabled"
  std::optional<std::string> tags;      // "enabled", "disabled"
  std::optional<int> hop_limit;         // 1 to 64
  bool operator==(const MetadataWish&) const = default;
};

// What an instance may ask its metadata service, with EC2's defaults.
struct MetadataOptions {
  bool enabled = true;
  bool tokens_required = false;
  bool tags = false;
  int hop_limit = 1;
};

// What RunInstances and a launch template's version may say of an instance.
struct LaunchData {
  std::optional<std::string> image_id;
  std::optional<std::string> instance_type;
  std::optional<std::string> key_name;
  std::optional<std::string> user_data;  // Base64, as it came
  std::optional<std::string> shutdown_behavior;
  std::optional<std::string> zone;
  std::optional<ProfileSpec> profile;
  std::optional<bool> ebs_optimized;
  std::optional<bool> monitoring;
  std::vector<std::string> security_group_ids;
  std::vector<std::string> security_groups;  // by name
  std::optional<InterfaceData> interface;
  std::optional<bool> termination_protected;
  std::optional<bool> stop_protected;
  std::map<std::string, Tags> tags;  // by resource type: "instance", "volume"
  std::vector<BlockDevice> devices;  // one a name
  MetadataWish metadata;
  bool operator==(const LaunchData&) const = default;
};
// `over` wins wherever it says something; tags of one resource type are replaced as a whole.
LaunchData merge(const LaunchData& base, const LaunchData& over);
// All of it as one text: two that say the same have the same.
std::string text_of(const LaunchData& data);
std::string text_of(const BlockDevice& device);

struct Instance {
  std::string id;
  std::string vpc_id;
  std::string reservation_id;
  int launch_index = 0;
  std::string image_id;
  // The manifest's, so that a deregistered AMI's instances can start again. Empty: of a base image that is not made
  // yet.
  Digest image;
  std::string type;
  std::string key_name;
  std::string public_key;  // of that pair when it was launched, OpenSSH's line
  std::string subnet_id;
  std::string zone;
  std::string private_address;
  std::string mac;
  std::string public_address;  // empty when it has none, or the region had none to give
  bool wants_public = false;   // gets one at each start
  std::string interface_description;
  Tags interface_tags;
  std::vector<std::string> security_groups;  // ids
  std::string user_data;
  MetadataOptions metadata;
  std::string shutdown_behavior = "stop";
  std::optional<ProfileAssociation> profile;
  bool termination_protected = false;  // DisableApiTermination
  bool stop_protected = false;         // DisableApiStop
  bool ebs_optimized = false;
  std::string client_token;
  Digest token_digest;  // of the request that came with the token
  Tags tags;
  std::string interface_id;
  std::string volume_id;
  Time launched{};

  InstanceState state = InstanceState::pending;
  std::string reason_code;  // StateReason, "Client.UserInitiatedShutdown"
  std::string reason_message;
  std::string transition_reason;  // "User initiated (2026-11-24 03:01:56 GMT)"
  std::optional<Time> ended;      // terminated since
  bool has_disk = false;          // it was launched once: what comes next is a start
  bool reboot = false;            // asked for and not done yet
  bool powered_down = false;      // for an image of it; it is started again when that has been read

  // Of this process only.
  bool busy = false;     // the machine's host is at work on it, or a pause before the next try
  Duration retry_in{0};  // the pause after the next failure to end it; 0: the first

  bool gone() const { return state == InstanceState::terminated; }
  bool on_network() const { return state != InstanceState::terminated; }
};

enum class ImageState { pending, available, failed, disabled };
std::string_view to_string(ImageState state);

struct Image {
  std::string id;
  std::string owner;        // an account
  std::string owner_alias;  // "amazon"; empty: none
  std::string name;
  std::string description;
  std::string location;  // "kiln:sha256:..", "<account>/<name>" of one that was made of an instance or a snapshot
  Digest digest;         // empty while it is pending
  ImageState state = ImageState::available;
  std::string state_message;         // why it failed
  std::vector<BlockDevice> devices;  // the root's, and those that say that there is none
  Sharing sharing;
  std::optional<Time> deprecation;
  bool protected_from_deregistration = false;
  bool protection_cools_down = false;   // it holds a day longer than it is wanted
  std::optional<Time> protected_until;  // the end of that day
  std::string source_instance;
  std::string source_image;  // of a copy, and of an image of an instance
  std::string source_region;
  std::string imds_support;  // "v2.0"
  std::string client_token;  // of a copy
  Digest token_digest;
  std::string architecture;  // "x86_64", "arm64"
  std::string root_device = "/dev/xvda";
  Time created{};
  Tags tags;

  const BlockDevice* root() const;  // null while a record of an earlier version has not been completed
};

struct TemplateVersion {
  std::int64_t number = 0;
  std::string description;
  Time created{};
  LaunchData data;
};

struct LaunchTemplate {
  std::string id;
  std::string name;
  Time created{};
  std::int64_t default_version = 1;
  std::int64_t latest_version = 0;  // numbers are never used again
  Tags tags;
  std::map<std::int64_t, TemplateVersion> versions;
};

struct Rule {
  std::string id;  // "sgr-.."
  bool egress = false;
  std::string protocol;  // "tcp", "udp", "icmp", "-1"
  std::int64_t from_port = -1;
  std::int64_t to_port = -1;
  std::string cidr;  // one of cidr and group_id
  std::string group_id;
  std::string description;
  bool same_traffic(const Rule& other) const {
    return egress == other.egress && protocol == other.protocol && from_port == other.from_port &&
           to_port == other.to_port && cidr == other.cidr && group_id == other.group_id;
  }
};

struct SecurityGroup {
  std::string id;
  std::string name;
  std::string description;
  std::string vpc_id;
  Tags tags;
  std::vector<Rule> rules;
};

struct KeyPair {
  std::string id;
  std::string name;
  std::string type;         // "rsa", "ed25519"
  std::string fingerprint;  // as EC2 computes it for this kind and origin
  std::string public_key;   // OpenSSH's line
  Time created{};
  Tags tags;
};

struct Zone {
  std::string name;  // "us-east-1a"
  std::string id;    // "use1-az1"
};

struct Vpc {
  std::string id;
  std::string cidr;
  bool is_default = false;
  bool dns_support = true;
  bool dns_hostnames = false;
  Tags tags;
};

struct Subnet {
  std::string id;
  std::string vpc_id;
  std::string zone;
  std::string zone_id;
  std::string cidr;
  std::string gateway;
  int prefix = 20;
  bool is_default = false;  // its zone's, in the default VPC
  bool map_public = false;  // instances get a public address unless they are told otherwise
  Tags tags;
};

struct RouteTable {
  struct Association {
    std::string id;         // "rtbassoc-.."
    std::string subnet_id;  // empty: it is the VPC's main table
    bool operator==(const Association&) const = default;
  };
  std::string id;
  std::string vpc_id;
  std::string client_token;
  std::string way_out;  // the internet gateway of its route to 0.0.0.0/0, empty: none
  std::vector<Association> associations;
  Tags tags;
};

struct InternetGateway {
  std::string id;
  std::string vpc_id;  // empty: attached to none
  Tags tags;
};

// An Elastic IP address.
struct Address {
  std::string id;  // "eipalloc-.."
  std::string public_address;
  std::string instance_id;  // empty: associated with none
  std::string association_id;
  Tags tags;
};

struct InstanceType {
  std::string_view name;
  int vcpus;
  std::int64_t memory_mib;
  std::string_view architecture;
  bool burstable;
};
// Those that a region has; null when there is none of that name.
const std::vector<InstanceType>& instance_types();
const InstanceType* find_instance_type(std::string_view name);

}  // namespace kiln::region::ec2
