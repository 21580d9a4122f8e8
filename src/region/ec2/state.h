// State: what the parts of EC2 share: all of its data, on the loop's thread. Private to this folder.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "region/ec2/ec2.h"
#include "region/ec2/vpcs.h"

namespace kiln::region::ec2 {

inline constexpr const char* kInstanceTable = "ec2.instance";
inline constexpr const char* kImageTable = "ec2.image";
inline constexpr const char* kTemplateTable = "ec2.launch_template";
inline constexpr const char* kGroupTable = "ec2.security_group";
inline constexpr const char* kKeyTable = "ec2.key_pair";
inline constexpr const char* kDefaultGroup = "default";  // name of the security group that a VPC begins with
inline constexpr const char* kAddressTable = "ec2.address";
inline constexpr const char* kVpcTable = "ec2.vpc";
inline constexpr const char* kSubnetTable = "ec2.subnet";
inline constexpr const char* kRouteTable = "ec2.route_table";
inline constexpr const char* kGatewayTable = "ec2.internet_gateway";
inline constexpr const char* kVolumeTable = "ec2.volume";
inline constexpr const char* kSnapshotTable = "ec2.snapshot";
inline constexpr const char* kTokenTable = "ec2.client_token";

struct Ec2::State {
  State(host::Loop& on, host::Random& chance, Tables& book, machine::Machines& hosts, machine::Network& wires,
        const ImagePlacements& where, LoopbackPool& pool, Options with);

  host::Loop& loop;
  host::Random& random;
  Tables& journal;
  machine::Machines& machines;
  machine::Network& network;
  const ImagePlacements& placements;
  LoopbackPool& public_addresses;
  Options options;

  std::map<std::string, Instance> instances;
  std::map<std::string, std::vector<std::string>> by_token;  // client token → instances
  std::map<std::string, Image> images;
  std::map<std::string, Volume> volumes;
  std::set<std::pair<std::string, std::string>> had;  // instance and data volume; more than is so now
  std::map<std::string, Snapshot> snapshots;
  std::map<std::string, std::vector<std::string>>
      captures;                                // instance → snapshots that wait for its disk, oldest first
  int capturing = 0;                           // disks being read now
  std::map<std::string, std::string> reading;  // image → the data volume's snapshot that it is being made of
  std::function<std::vector<const Image*>()> foreign_images;
  std::function<const Ec2*(const std::string& region)> other_regions;
  std::map<std::string, Image> public_images;
  std::map<std::string, std::set<std::string>>
      awaiting_image;  // public image that is being made → instances that wait for it
  std::map<std::string, LaunchTemplate> templates;
  std::map<std::string, std::string> template_tokens;  // client token → "<id>:<version>:<digest of the request>"
  std::map<std::string, SecurityGroup> groups;
  std::map<std::string, KeyPair> keys;
  Vpcs vpcs;
  std::map<std::string, Address> elastic;                        // by allocation id
  std::map<std::string, std::uint32_t> next_address;             // by subnet: where the search for a free one goes on
  std::set<std::pair<std::string, std::string>> used_addresses;  // private ones, by VPC
  std::vector<std::function<void(const Instance&, InstanceState)>> listeners;
  std::function<bool(const std::string&)> balancer_uses;
  FindProfile find_profile;
  std::function<std::string(const std::string&)> image_parameter;
  bool network_dirty = false;
  Duration network_retry{0};               // the pause after the next failure; 0: the first
  host::TimerId network_timer = 0;         // of the next try
  std::set<std::string> network_problems;  // those that were said

  std::string new_id(const std::string& prefix) { return prefix + random.hex(17); }

  void save(const Instance& instance);
  void save(const Image& image);
  void save(const Volume& volume);
  void save(const Snapshot& snapshot);
  void save(const LaunchTemplate& launch_template);
  void save(const SecurityGroup& group);
  void save(const KeyPair& pair);
  void save(const Address& address);

  // launch.cc
  struct Launch;
  // The instances that a call with this token has made; none yet: empty. ApiError when its parameters were others.
  std::vector<const Instance*> launched_before(const RunRequest& request, const Digest& asked) const;
  // What they will be like. ApiError for what cannot be; changes nothing.
  Launch launch_of(const Ec2& ec2, const RunRequest& request);
  const Instance& make_instance(const Launch& launch, const std::string& address, int index);

  // instances.cc
  void set_state(Instance& instance, InstanceState state, std::string code, std::string message);
  void advance(const std::string& id);  // gives the machine's host the next thing to do for this instance
  // Ending its machine failed: stays as it is and is tried again, ever more slowly.
  void end_later(Instance& instance, const std::string& failure);
  machine::Spec spec_of(const Instance& instance, bool with_image = true) const;
  void forget_later(const Instance& instance);
  void remember_instances();

  // instance_profiles.cc: a new association with a profile that is there; ApiError InvalidParameterValue otherwise.
  ProfileAssociation associate(const ProfileSpec& spec);
  // What the machines' host answers with comes back here, where the instance may have been asked for something else
  // meanwhile; then it goes on.
  machine::Done then(const std::string& id, std::function<void(Instance&, std::exception_ptr)> done);

  // captures.cc
  void want_capture(const Snapshot& snapshot);
  // Whether something is to be done for an image, a snapshot or a volume that stays before anything else; then it has
  // been begun.
  bool begins_capture(Instance& instance);
  void settle(const std::string& snapshot_id, std::exception_ptr failure, const Digest& content);
  void resume_captures();
  void capture_ended();
  // Images that are registered from a data volume's snapshot: their content is what that holds.
  bool awaits_root(const Image& image) const;
  void read_roots();
  void read_root(const Image& image);

  // data_volumes.cc
  // All of it said: from its snapshot, and as EBS has it. ApiError for what cannot be.
  BlockDevice data_device_of(const BlockDevice& asked);
  // The volumes besides the root's: the request's mappings over the image's own.
  std::vector<BlockDevice> data_devices_of(const Image& image, const std::vector<BlockDevice>& asked);
  // The same for an image of an instance, over what it has.
  std::vector<BlockDevice> data_devices_in(const Instance& instance, const std::vector<BlockDevice>& asked);
  Volume& make_data_volume(const BlockDevice& device, const std::string& zone, const Tags& tags);
  void put_into(Volume& volume, const Instance& instance, const std::string& device);  // to be attached

  // volume_work.cc: what the machines' host does for volumes. The wishes are in the journal.
  std::vector<Volume*> data_volumes_of(const std::string& instance_id);
  std::vector<const Volume*> data_volumes_of(const std::string& instance_id) const;
  void advance_volume(const std::string& id);
  bool awaits_volumes(const Instance& instance);  // its launch does
  bool begins_volume(Instance& instance);         // a change of what it has
  void volumes_launched(const Instance& instance);
  void copy_snapshot(const std::string& id);  // of a snapshot, or of a volume that no instance has
  void release_data_volumes(const std::string& instance_id);
  void remove_from_host(const std::string& id);
  void resume_volumes();
  // Pauses, and goes on with it then.
  void volume_later(Volume& volume, const std::string& what, std::exception_ptr failure);

  // volumes.cc
  void complete_disks();  // records of before disks were kept
  // What an instance's root volume will be: the request's mappings over the image's own. ApiError for what cannot be.
  BlockDevice root_volume_of(const Image& image, const std::vector<BlockDevice>& asked) const;
  void make_root_volume(Instance& instance, const Image& image, const BlockDevice& root, const Tags& tags);
  void release_volume(const Instance& instance);
  std::string key_arn(const std::string& key) const;

  // snapshots.cc
  Snapshot new_snapshot(const std::string& volume_id, const BlockDevice& device, const std::string& description) const;
  Snapshot& own_snapshot(const std::string& id);

  // images.cc
  Image& own_image(const std::string& id);
  std::vector<const Image*> others_images() const;  // public ones, and those that others share with this account
  // What each of them begins with; `devices` has the root's, with its snapshot.
  Image new_image(const std::string& name, const std::string& description, const std::string& root_device) const;
  void give_root_snapshot(Image& image);

  // base_images.cc
  void list_base_images();
  void await_image(const Instance& instance);  // has its public image made, and goes on with the instance then
  void image_made(const std::string& image_id, const std::exception_ptr& failure, const Digest& digest);

  // addresses.cc
  // `wanted`, or as many as are free: `least` to `most`. ApiError, and none is taken, when that cannot be.
  std::vector<std::string> take_addresses(const Subnet& subnet, const std::string& wanted, int least, int most);
  // Gives a public address to an instance that wants one and has none; takes an address that is not Elastic away.
  void give_public(Instance& instance);
  void take_public(Instance& instance);
  const Address* elastic_of(const std::string& instance_id) const;  // null: it has none
  void release(Address& address);                                   // from its instance
  std::vector<machine::Vpc> networks() const;
  bool used(const std::string& id) const;  // a VPC or a subnet, by anything that is not of Vpcs
  bool has_public(const std::string& vpc_id) const;
  void network_changed();
  void apply_network();  // what fails is said and tried again, ever more slowly

  // templates.cc
  LaunchTemplate& find_template(const std::string& id, const std::string& name);
  TemplateVersion& find_version(LaunchTemplate& launch_template, const std::string& version);
  // The version that a call with this token and these parameters has made; null: none yet. ApiError when the parameters
  // were others.
  TemplateVersion* made_before(const std::string& client_token, const std::string& asked);
  void remember(const std::string& client_token, const std::string& asked, const LaunchTemplate& launch_template,
                std::int64_t version);

  SecurityGroup& find_group(const std::string& id);
  void check_peer(const SecurityGroup& group, const Rule& rule);  // ApiError for a group of another VPC
  void make_default_group(const std::string& id, const std::string& vpc_id);
  Tags* tags_of(const std::string& id, std::function<void()>& save_it);
};

// Pauses before something that failed on this host is tried again: nft, a mount that is busy. Doubled up to the second.
inline constexpr Duration kRetryFirst{200};
inline constexpr Duration kRetryMost{30'000};
// The pause now; `next` becomes the one after it.
Duration next_pause(Duration& next);

// Where new instances are put, and what they are given there.
struct Place {
  const Subnet* subnet = nullptr;
  std::string private_address;  // empty: any
  bool public_address = false;
  std::vector<std::string> groups;
};

// Of what a request says, laid over its template.
Place place_of(const Ec2& ec2, const RunRequest& request, const LaunchData& data);
// ApiError for what is no Base64, or too long.
void check_user_data(const std::optional<std::string>& user_data);

// Throws ApiError for tags that AWS refuses: over 50, "aws:", over long keys and values.
void check_tags(const Tags& tags);
// Throws ApiError for values that EC2 does not know, and for tags that then cannot be served.
void apply_metadata(MetadataOptions& options, const MetadataWish& wish, const Tags& tags);
// Throws ApiError for a key that cannot be a part of a metadata path.
void check_metadata_tags(const Tags& tags);
// Whether an id has the form "<prefix><8 or 17 hex digits>".
bool well_formed(const std::string& id, const std::string& prefix);

// Takes over what a table holds under a key now; without a text it is gone.
template <class Things, class Read>
void take_record(Things& things, const std::string& key, const std::optional<std::string>& text, Read&& read) {
  if (text) {
    things[key] = read(*text);
  } else {
    things.erase(key);
  }
}

// record.cc: the journal's form of each.
std::string message_of(std::exception_ptr failure);
bool is_absent(std::exception_ptr failure);  // the machine is not there

// volumes.cc. Throws ApiError for a size, a type or a speed that EBS does not have, and for what this region lacks.
void check_device(const BlockDevice& device);
void check_disk(const BlockDevice& device);  // the same, whatever its name
// `over` wins wherever it says something.
void lay_over(BlockDevice& device, const BlockDevice& over);
// As DescribeVolumes shows them: gp2 has 3 a GiB, at least 100.
std::int64_t iops_of(const std::string& type, std::int64_t size_gib, const std::optional<std::int64_t>& asked);
std::int64_t throughput_of(const std::string& type, const std::optional<std::int64_t>& asked);
// data_volumes.cc. "/dev/sdf" and "/dev/xvdf" are one.
bool same_device(const std::string& one, const std::string& other);
// Its mapping in an image of its instance.
BlockDevice mapping_of(const Volume& volume);
inline constexpr std::size_t kVolumesMost = 27;  // Nitro: 28 attachments, one of them the network interface

// record.cc, record_disks.cc: the journal's form of each.
std::string write_record(const Volume& value);
std::string write_record(const Snapshot& value);
Volume read_volume(const std::string& text);
Snapshot read_snapshot(const std::string& text);
std::string write_record(const Instance& value);
std::string write_record(const Image& value);
std::string write_record(const LaunchTemplate& value);
std::string write_record(const SecurityGroup& value);
std::string write_record(const KeyPair& value);
std::string write_record(const Vpc& value);
std::string write_record(const Subnet& value);
std::string write_record(const RouteTable& value);
std::string write_record(const InternetGateway& value);
std::string write_record(const Address& value);
Instance read_instance(const std::string& text);
Image read_image(const std::string& text);
LaunchTemplate read_launch_template(const std::string& text);
SecurityGroup read_security_group(const std::string& text);
KeyPair read_key_pair(const std::string& text);
Vpc read_vpc(const std::string& text);
Subnet read_subnet(const std::string& text);
RouteTable read_route_table(const std::string& text);
InternetGateway read_internet_gateway(const std::string& text);
Address read_address(const std::string& text);

}  // namespace kiln::region::ec2
