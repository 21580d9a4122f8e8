// State: what the parts of EC2 share: all of its data, on the loop's thread. Private to this folder.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "region/ec2/ec2.h"

namespace kiln::region::ec2 {

inline constexpr const char* kInstanceTable = "ec2.instance";
inline constexpr const char* kImageTable = "ec2.image";
inline constexpr const char* kTemplateTable = "ec2.launch_template";
inline constexpr const char* kGroupTable = "ec2.security_group";
inline constexpr const char* kKeyTable = "ec2.key_pair";
inline constexpr const char* kTokenTable = "ec2.client_token";

struct Ec2::State {
  State(host::Loop& on, host::Random& chance, Journal& book, machine::Machines& hosts, machine::Network& wires,
        const ImagePlacements& where, Options with);

  host::Loop& loop;
  host::Random& random;
  Journal& journal;
  machine::Machines& machines;
  machine::Network& network;
  const ImagePlacements& placements;
  Options options;

  std::map<std::string, Instance> instances;
  std::map<std::string, std::vector<std::string>> by_token;  // client token → instances
  std::map<std::string, Image> images;
  std::map<std::string, Image> public_images;
  std::map<std::string, std::set<std::string>> waiting;  // public image that is being made → instances that wait for it
  std::map<std::string, LaunchTemplate> templates;
  std::map<std::string, std::string> template_tokens;  // client token → "<id>:<version>:<digest of the request>"
  std::map<std::string, SecurityGroup> groups;
  std::map<std::string, KeyPair> keys;
  Vpc vpc;
  std::vector<Subnet> subnets;
  std::map<std::string, std::uint32_t> next_address;  // by subnet: where the search for a free one goes on
  std::set<std::string> used_addresses;               // private and public ones
  int next_public = 0;
  std::vector<std::function<void(const Instance&, InstanceState)>> listeners;
  std::function<bool(const std::string&)> balancer_uses;
  bool network_dirty = false;
  Duration network_retry{0};               // the pause after the next failure; 0: the first
  host::TimerId network_timer = 0;         // of the next try
  std::set<std::string> network_problems;  // those that were said

  std::string new_id(const std::string& prefix) { return prefix + random.hex(17); }

  void save(const Instance& instance);
  void save(const Image& image);
  void save(const LaunchTemplate& launch_template);
  void save(const SecurityGroup& group);
  void save(const KeyPair& pair);

  // instances.cc
  void set_state(Instance& instance, InstanceState state, std::string code, std::string message);
  void advance(const std::string& id);  // gives the machine's host the next thing to do for this instance
  // Ending its machine failed: stays as it is and is tried again, ever more slowly.
  void end_later(Instance& instance, const std::string& failure);
  void machine_ended(const machine::Exit& exit);
  machine::Spec spec_of(const Instance& instance, bool with_image = true) const;
  void forget_later(const Instance& instance);
  void resume();

  // base_images.cc
  void list_base_images();
  void await_image(const Instance& instance);  // has its public image made, and goes on with the instance then
  void image_made(const std::string& image_id, const std::exception_ptr& failure, const Digest& digest);

  // addresses.cc
  std::string take_address(const Subnet& subnet);
  std::string take_public_address();
  std::vector<machine::Port> ports() const;
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
  Tags* tags_of(const std::string& id, std::function<void()>& save_it);
};

// Pauses before something that failed on this host is tried again: nft, a mount that is busy. Doubled up to the second.
inline constexpr Duration kRetryFirst{200};
inline constexpr Duration kRetryMost{30'000};
// The pause now; `next` becomes the one after it.
Duration next_pause(Duration& next);

// Throws ApiError for tags that AWS refuses: over 50, "aws:", over long keys and values.
void check_tags(const Tags& tags);
// Throws ApiError for values that EC2 does not know, and for tags that then cannot be served.
void apply_metadata(MetadataOptions& options, const MetadataWish& wish, const Tags& tags);
// Throws ApiError for a key that cannot be a part of a metadata path.
void check_metadata_tags(const Tags& tags);
// Whether an id has the form "<prefix><8 or 17 hex digits>".
bool well_formed(const std::string& id, const std::string& prefix);

// record.cc: the journal's form of each.
std::string write_record(const Instance& value);
std::string write_record(const Image& value);
std::string write_record(const LaunchTemplate& value);
std::string write_record(const SecurityGroup& value);
std::string write_record(const KeyPair& value);
Instance read_instance(const std::string& text);
Image read_image(const std::string& text);
LaunchTemplate read_launch_template(const std::string& text);
SecurityGroup read_security_group(const std::string& text);
KeyPair read_key_pair(const std::string& text);

}  // namespace kiln::region::ec2
