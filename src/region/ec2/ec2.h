// Ec2: what EC2 does: instances on real or simulated machines, images, launch templates, security groups that are
// enforced, key pairs, VPCs with subnets and routes.
//
// It lives on the region's loop. Every change is in the journal before the turn ends. What a caller did wrong is an
// ApiError with AWS's code. After a restart it is told which machines outlived us, and whatever was under way (a
// launch, a stop, an end, an image) is gone on with. Not modelled: status checks that fail, interfaces
// beyond their ids.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "host/loop.h"
#include "host/random.h"
#include "machine/machine.h"
#include "machine/network.h"
#include "region/ec2/base_images.h"
#include "region/ec2/model.h"
#include "region/ec2/placements.h"
#include "region/ec2/vpcs.h"
#include "region/journal.h"
#include "region/loopback_pool.h"

namespace kiln::region::ec2 {

struct Options {
  std::string region = "us-east-1";
  std::string account = "123456789012";
  Duration stop_deadline{30'000};  // AWS waits longer; a service that needs more than this to stop is broken
  Duration end_deadline{10'000};
  // What goes wrong and is tried again, in a line; for the region's log.
  std::function<void(const std::string& line)> say = [](const std::string&) {};
  BaseImages* base_images = nullptr;    // must outlive it; null: the region has no public images
  Duration keep_terminated{3'600'000};  // how long a terminated instance is shown: about an hour, as AWS says
};

struct TemplateSpec {
  std::string id;  // one of id and name
  std::string name;
  std::string version = "$Default";  // a number, "$Default" or "$Latest"
};

struct RunRequest {
  std::optional<TemplateSpec> launch_template;
  LaunchData data;              // over the template's
  std::string subnet_id;        // empty: the zone's default one, or the first
  std::string private_address;  // empty: any of the subnet
  int min_count = 1;
  int max_count = 1;
  std::string client_token;
};

struct ImageRequest {
  std::string name;
  std::string location;  // of RegisterImage; empty: the root device's snapshot
  std::string description;
  std::string architecture;  // empty: the content's
  std::string root_device;   // empty: "/dev/xvda"
  std::string imds_support;
  std::vector<BlockDevice> devices;
  Tags tags;
  Tags snapshot_tags;
};

struct CopyRequest {
  std::string source_image;
  std::string source_region;
  std::string name;
  std::string description;
  bool encrypted = false;
  std::string kms_key;
  bool copy_tags = false;
  std::string client_token;
  Tags tags;
  Tags snapshot_tags;
};

class Ec2 {
 public:
  // All must outlive it.
  Ec2(host::Loop& loop, host::Random& random, Tables& journal, machine::Machines& machines, machine::Network& network,
      const ImagePlacements& placements, LoopbackPool& addresses, Options options);
  ~Ec2();

  // The beginning, in this order. Everything is known again, and no machine or rule has been touched yet.
  void load();
  // For one that only describes: takes over what another one has in its tables, and later each thing that it puts there
  // or (without a text) erases.
  void read(const Tables& tables);
  void replicate(const std::string& table, const std::string& key, const std::optional<std::string>& text);
  // The machines that should be there.
  std::vector<machine::Spec> machines() const;
  // Says what the network should be. What its rules ask about (load balancers) must be known by now.
  void connect();
  // Goes on with whatever was under way. `alive`: those of `machines()` that outlived us.
  void resume(const std::vector<std::string>& alive);
  // A machine ended without our asking; one of ours, or nobody's.
  void machine_ended(const machine::Exit& exit);

  // Instances.
  std::vector<const Instance*> run_instances(const RunRequest& request);
  const std::map<std::string, Instance>& instances() const;    // by id, terminated ones too
  const Instance* find_instance(const std::string& id) const;  // null when unknown
  const Instance& instance(const std::string& id) const;       // ApiError InvalidInstanceID.NotFound, .Malformed
  // None of them is on its way from one state to another; one that is unknown is not.
  bool settled(const std::vector<std::string>& instance_ids) const;
  struct Transition {
    const Instance* instance;
    InstanceState before;
  };
  std::vector<Transition> terminate_instances(const std::vector<std::string>& ids);
  std::vector<Transition> stop_instances(const std::vector<std::string>& ids);
  std::vector<Transition> start_instances(const std::vector<std::string>& ids);
  void reboot_instances(const std::vector<std::string>& ids);
  // Each that is present is changed; ApiError IncorrectInstanceState for type and user data unless it is stopped.
  struct InstanceChanges {
    std::optional<std::string> type;
    std::optional<std::string> user_data;  // Base64
    std::optional<std::string> shutdown_behavior;
    std::optional<bool> termination_protected;
    std::optional<bool> stop_protected;
    std::optional<bool> ebs_optimized;
    std::vector<std::string> security_groups;
  };
  void modify_instance(const std::string& id, const InstanceChanges& changes);
  std::string console_output(const std::string& id) const;
  // Of an instance that is not terminated. Throws ApiError InvalidParameterValue.
  const Instance& modify_metadata_options(const std::string& id, const MetadataWish& wish);
  // Instance profiles. Who knows them is IAM: null when there is none of that ARN or name.
  using FindProfile = std::function<std::optional<InstanceProfile>(const ProfileSpec&)>;
  void set_instance_profiles(FindProfile find);
  // ApiError IncorrectState when the instance has one already, InvalidAssociationID.NotFound.
  const Instance& associate_profile(const std::string& instance_id, const ProfileSpec& profile);
  // The association that was, and its instance.
  std::pair<ProfileAssociation, std::string> disassociate_profile(const std::string& association_id);
  // Called on the loop after an instance's state changed; several may listen, none may throw.
  void on_instance_change(std::function<void(const Instance&, InstanceState before)> listener);

  // Images: own ones, unless it says otherwise.
  const Image& register_image(const ImageRequest& request);
  // Pending until the instance's disk has been read: after it was powered down (and it is started again), unless
  // `no_reboot`. An instance that is stopped is only read.
  const Image& create_image(const std::string& instance_id, const ImageRequest& request, bool no_reboot);
  const Image& copy_image(const CopyRequest& request);
  // Reads every byte of the image at a location once, so that `register_image` need not. From any thread; throws as it.
  void verify_image(const std::string& location) const;
  struct DeletedSnapshot {
    std::string id;
    std::string outcome;  // "success", "skipped": another image has it
  };
  std::vector<DeletedSnapshot> deregister_image(const std::string& id, bool delete_snapshots);
  const std::map<std::string, Image>& images() const;
  // Others' too that this account may see. ApiError InvalidAMIID.NotFound, .Malformed
  const Image& image(const std::string& id) const;
  std::vector<const Image*> visible_images() const;  // by id
  void describe_image_as(const std::string& id, const std::string& description);
  void share_image(const std::string& id, const SharingChange& change);
  void reset_image_sharing(const std::string& id);
  void require_tokens_of(const std::string& id);  // IMDS "v2.0", which cannot be taken back
  void disable_image(const std::string& id);
  void enable_image(const std::string& id);
  void deprecate_image(const std::string& id, const std::optional<Time>& at);  // nothing: not any more
  void protect_image(const std::string& id, bool cools_down);
  void unprotect_image(const std::string& id);
  // None of these is pending. Volumes never are.
  bool images_settled(const std::vector<std::string>& ids) const;
  bool snapshots_settled(const std::vector<std::string>& ids) const;
  // What other accounts' images an account may see, for `set_foreign_images` of that account's Ec2 of the same region.
  // What is returned holds until the next change of this Ec2.
  std::vector<const Image*> images_shared_with(const std::string& account) const;
  void set_foreign_images(std::function<std::vector<const Image*>()> visible);
  // Where CopyImage looks for its source: null for a region that there is not.
  void set_other_regions(std::function<const Ec2*(const std::string& region)> of_this_account);

  // Disks.
  const std::map<std::string, Volume>& volumes() const;
  const Volume& volume(const std::string& id) const;                            // ApiError InvalidVolume.NotFound
  std::vector<const Volume*> volumes_of(const std::string& instance_id) const;  // its root volume first
  // None of them is on its way from one state to another; one that is unknown is not.
  bool volumes_settled(const std::vector<std::string>& ids) const;
  // Volumes besides the root's. What they are asked for is done by the machines' host afterwards.
  struct VolumeRequest {
    BlockDevice device;  // without a name
    std::string zone;
    std::string client_token;
    Tags tags;
  };
  const Volume& create_volume(const VolumeRequest& request);
  const Volume& attach_volume(const std::string& id, const std::string& instance_id, const std::string& device);
  // Instance and device may be empty; when they are said they must be so.
  const Volume& detach_volume(const std::string& id, const std::string& instance_id, const std::string& device);
  void delete_volume(const std::string& id);
  const Volume& modify_volume(const std::string& id, const BlockDevice& wish);  // size, type, iops, throughput
  // What the machines' host keeps for it: data volumes and their snapshots, by id.
  std::vector<std::string> host_volumes() const;
  const Snapshot& create_snapshot(const std::string& volume_id, const std::string& description, const Tags& tags);
  void delete_snapshot(const std::string& id);
  const std::map<std::string, Snapshot>& snapshots() const;
  const Snapshot& snapshot(const std::string& id) const;  // ApiError InvalidSnapshot.NotFound
  void share_snapshot(const std::string& id, const SharingChange& change);
  void reset_snapshot_sharing(const std::string& id);

  // An image's id as RunInstances and launch templates take it: "resolve:ssm:NAME", with ":version" or ":label", is
  // what the parameter holds now. ApiError InvalidParameterValue when there is none.
  std::string resolved_image(const std::string& image_id) const;
  // Gives a parameter's value; throws ApiError.
  void set_image_parameter(std::function<std::string(const std::string& parameter)> value);
  const std::map<std::string, Image>& public_images() const;  // those of BaseImages, the same in every account
  // Parameters of Systems Manager that everybody may read, and that lead to public images: name → AMI id.
  std::map<std::string, std::string> public_parameters() const;

  // Launch templates.
  const LaunchTemplate& create_launch_template(const std::string& name, const std::string& description,
                                               const LaunchData& data, const Tags& tags,
                                               const std::string& client_token);
  const TemplateVersion& create_launch_template_version(const TemplateSpec& spec, const std::string& source_version,
                                                        const std::string& description, const LaunchData& data,
                                                        const std::string& client_token);
  const std::map<std::string, LaunchTemplate>& launch_templates() const;  // by id
  const LaunchTemplate& launch_template(const std::string& id, const std::string& name) const;
  const TemplateVersion& template_version(const TemplateSpec& spec) const;
  const LaunchTemplate& set_default_version(const TemplateSpec& spec);
  LaunchTemplate delete_launch_template(const std::string& id, const std::string& name);
  // Null: deleted. Otherwise the code of why not.
  std::optional<std::string> delete_template_version(const std::string& template_id, std::int64_t number);

  // Security groups.
  const SecurityGroup& create_security_group(const std::string& name, const std::string& description,
                                             const std::string& vpc_id, const Tags& tags);
  void delete_security_group(const std::string& id);
  const std::map<std::string, SecurityGroup>& security_groups() const;  // by id
  const SecurityGroup& security_group(const std::string& id) const;     // ApiError InvalidGroup.NotFound
  // By name within a VPC, which is the default one when it is empty; null: there is none.
  const SecurityGroup* find_security_group(const std::string& name, const std::string& vpc_id = {}) const;
  std::vector<Rule> authorize(const std::string& group_id, std::vector<Rule> rules);
  void revoke(const std::string& group_id, const std::vector<Rule>& rules);
  void revoke_by_id(const std::string& group_id, bool egress, const std::vector<std::string>& rule_ids);
  // Changes a rule but for its id and direction; its description alone is changed by `describe_rules`.
  void modify_rules(const std::string& group_id, const std::vector<Rule>& rules);
  void describe_rules(const std::string& group_id, const std::vector<Rule>& rules);
  // Whether a load balancer has this security group, subnet or VPC. Rules that name such a group let the balancer's own
  // addresses in; the VPC is made for it.
  void set_balancer_uses(std::function<bool(const std::string& id)> uses);
  // Something that `set_balancer_uses` asks about has changed.
  void network_changed();

  // Key pairs.
  struct NewKeyPair {
    const KeyPair* pair;
    std::string private_key;  // PEM; never kept
  };
  NewKeyPair create_key_pair(const std::string& name, const std::string& type, const Tags& tags);
  const KeyPair& import_key_pair(const std::string& name, const std::string& public_key, const Tags& tags);
  std::optional<KeyPair> delete_key_pair(const std::string& name, const std::string& id);
  const std::map<std::string, KeyPair>& key_pairs() const;  // by name

  // VPCs, subnets, routes, gateways. A VPC begins with a default security group, and takes it along.
  Vpcs& vpcs();
  const Vpcs& vpcs() const;
  const Vpc& create_vpc(const std::string& cidr, const Tags& tags);
  void delete_vpc(const std::string& id);
  std::string default_security_group_id(const std::string& vpc_id = {}) const;  // empty: of the default VPC
  // Elastic IP addresses: loopback addresses of the region that stay with an instance over stop and start.
  const std::map<std::string, Address>& addresses() const;                                 // by allocation id
  const Address& address(const std::string& id, const std::string& public_address) const;  // by one of the two
  const Address& allocate_address(const Tags& tags);
  void release_address(const std::string& id);
  // The instance's address so far is released. The association's id.
  std::string associate_address(const std::string& id, const std::string& instance_id, bool reassociate);
  void disassociate_address(const std::string& id);

  // Free addresses of a subnet, as DescribeSubnets counts them.
  std::int64_t free_addresses(const Subnet& subnet) const;

  // Tags of anything of EC2's. ApiError when the id is unknown, the tag is AWS's own ("aws:..") or there are over 50.
  void create_tags(const std::vector<std::string>& ids, const Tags& tags);
  // An absent value deletes whatever the value is.
  void delete_tags(const std::vector<std::string>& ids, const std::map<std::string, std::optional<std::string>>& tags);
  struct Tagged {
    std::string resource_id;
    std::string resource_type;
    const Tags* tags;
  };
  std::vector<Tagged> tagged() const;

  const Options& options() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kiln::region::ec2
