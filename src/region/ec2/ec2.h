// Ec2: what EC2 does: instances on real or simulated machines, images, launch templates, security groups that are
// enforced, key pairs, and one default VPC with a subnet in each of three zones.
//
// It lives on the region's loop. Every change is in the journal before the turn ends. What a caller did wrong is an
// ApiError with AWS's code. After a restart `open` reads the journal and finds the machines that outlived us; whatever
// was under way (a launch, a stop, an end) is gone on with. Not modelled: eventual consistency, status checks that
// fail, volumes and interfaces beyond their ids.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "host/loop.h"
#include "host/random.h"
#include "machine/machine.h"
#include "machine/network.h"
#include "region/ec2/base_images.h"
#include "region/ec2/model.h"
#include "region/ec2/placements.h"
#include "region/journal.h"

namespace kiln::region::ec2 {

struct Options {
  std::string region = "us-east-1";
  std::string account = "123456789012";
  int first_public_address = 100;  // numbers of Network::loopback_address that instances get
  int last_public_address = 254;
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
  LaunchData data;        // over the template's
  std::string subnet_id;  // empty: the zone's, or the first
  int min_count = 1;
  int max_count = 1;
  std::string client_token;
};

class Ec2 {
 public:
  // All must outlive it.
  Ec2(host::Loop& loop, host::Random& random, Journal& journal, machine::Machines& machines, machine::Network& network,
      const ImagePlacements& placements, Options options);
  ~Ec2();
  // `once_loaded` runs when everything is known again and no machine or rule has been touched yet: what the network's
  // rules ask about (load balancers) must be known by then.
  void open(const std::function<void()>& once_loaded = {});

  // Instances.
  std::vector<const Instance*> run_instances(const RunRequest& request);
  const std::map<std::string, Instance>& instances() const;    // by id, terminated ones too
  const Instance* find_instance(const std::string& id) const;  // null when unknown
  const Instance& instance(const std::string& id) const;       // ApiError InvalidInstanceID.NotFound, .Malformed
  struct Transition {
    const Instance* instance;
    InstanceState before;
  };
  std::vector<Transition> terminate_instances(const std::vector<std::string>& ids);
  std::vector<Transition> stop_instances(const std::vector<std::string>& ids);
  std::vector<Transition> start_instances(const std::vector<std::string>& ids);
  void reboot_instances(const std::vector<std::string>& ids);
  std::string console_output(const std::string& id) const;
  // Of an instance that is not terminated. Throws ApiError InvalidParameterValue.
  const Instance& modify_metadata_options(const std::string& id, const MetadataWish& wish);
  // Called on the loop after an instance's state changed; several may listen, none may throw.
  void on_instance_change(std::function<void(const Instance&, InstanceState before)> listener);

  // Images.
  const Image& register_image(const std::string& name, const std::string& location, const std::string& description,
                              const std::string& architecture, const Tags& tags);
  // Reads every byte of the image at a location once, so that `register_image` need not. From any thread; throws as it.
  void verify_image(const std::string& location) const;
  void deregister_image(const std::string& id);
  const std::map<std::string, Image>& images() const;         // the account's own
  const std::map<std::string, Image>& public_images() const;  // those of BaseImages, the same in every account
  const Image& image(const std::string& id) const;            // of both; ApiError InvalidAMIID.NotFound, .Malformed
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
  const SecurityGroup* find_security_group(const std::string& name) const;
  std::vector<Rule> authorize(const std::string& group_id, std::vector<Rule> rules);
  void revoke(const std::string& group_id, const std::vector<Rule>& rules);
  void revoke_by_id(const std::string& group_id, bool egress, const std::vector<std::string>& rule_ids);
  // Whether a load balancer has this security group: rules that name the group then let the balancer's own addresses
  // in.
  void set_balancer_groups(std::function<bool(const std::string& group_id)> uses);
  // Something that `set_balancer_groups` asks about has changed.
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

  // The default network.
  const Vpc& vpc() const;
  const std::vector<Subnet>& subnets() const;  // by zone
  const Subnet* find_subnet(const std::string& id) const;
  const SecurityGroup& default_security_group() const;
  std::string default_security_group_id() const;
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
