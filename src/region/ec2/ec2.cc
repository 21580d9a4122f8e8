// Ec2: its beginning: what the journal holds, and the machines that outlived us.
#include "region/ec2/ec2.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "region/api_error.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {

Ec2::State::State(host::Loop& on, host::Random& chance, Tables& book, machine::Machines& hosts, machine::Network& wires,
                  const ImagePlacements& where, LoopbackPool& pool, Options with)
    : loop(on),
      random(chance),
      journal(book),
      machines(hosts),
      network(wires),
      placements(where),
      public_addresses(pool),
      options(std::move(with)),
      vpcs(chance, book,
           {options.account, options.region, [this] { network_changed(); },
            [this](const std::string& id) { return used(id); },
            [this](const std::string& vpc) { return has_public(vpc); }}) {}

Ec2::Ec2(host::Loop& loop, host::Random& random, Tables& journal, machine::Machines& machines,
         machine::Network& network, const ImagePlacements& placements, LoopbackPool& addresses, Options options)
    : state_(std::make_unique<State>(loop, random, journal, machines, network, placements, addresses,
                                     std::move(options))) {}

Ec2::~Ec2() = default;

void Ec2::read(const Tables& tables) {
  state_->list_base_images();
  for (const char* table :
       {kInstanceTable, kImageTable, kVolumeTable, kSnapshotTable, kTemplateTable, kGroupTable, kKeyTable, kTokenTable,
        kAddressTable, kVpcTable, kSubnetTable, kRouteTable, kGatewayTable}) {
    for (const auto& [key, text] : tables.load(table)) replicate(table, key, text);
  }
}

void Ec2::load() {
  State& s = *state_;
  read(s.journal);
  s.complete_disks();
  s.vpcs.ensure_default();
  const std::string default_group = s.vpcs.fixed_id("sg-", "default");
  if (!s.groups.contains(default_group)) s.make_default_group(default_group, s.vpcs.default_vpc().id);
  s.remember_instances();
}

void Ec2::replicate(const std::string& table, const std::string& key, const std::optional<std::string>& text) {
  State& s = *state_;
  auto take = [&](auto& things, auto&& read) { take_record(things, key, text, read); };
  s.vpcs.replicate(table, key, text);
  if (table == kAddressTable) take(s.elastic, read_address);
  if (table == kInstanceTable) take(s.instances, read_instance);
  if (table == kImageTable) take(s.images, read_image);
  if (table == kVolumeTable) {
    take(s.volumes, read_volume);
    const auto found = s.volumes.find(key);
    if (found != s.volumes.end() && found->second.data) s.had.emplace(found->second.instance_id, key);
  }
  if (table == kSnapshotTable) take(s.snapshots, read_snapshot);
  if (table == kTemplateTable) take(s.templates, read_launch_template);
  if (table == kGroupTable) take(s.groups, read_security_group);
  if (table == kKeyTable) take(s.keys, read_key_pair);
  if (table == kTokenTable) take(s.template_tokens, [](const std::string& token) { return token; });
}

void Ec2::connect() { state_->apply_network(); }

void Ec2::State::save(const Instance& instance) { journal.put(kInstanceTable, instance.id, write_record(instance)); }
void Ec2::State::save(const Image& image) { journal.put(kImageTable, image.id, write_record(image)); }
void Ec2::State::save(const Volume& volume) {
  if (volume.data && !volume.instance_id.empty()) had.emplace(volume.instance_id, volume.id);
  journal.put(kVolumeTable, volume.id, write_record(volume));
}
void Ec2::State::save(const Snapshot& snapshot) { journal.put(kSnapshotTable, snapshot.id, write_record(snapshot)); }
void Ec2::State::save(const LaunchTemplate& value) { journal.put(kTemplateTable, value.id, write_record(value)); }
void Ec2::State::save(const SecurityGroup& group) { journal.put(kGroupTable, group.id, write_record(group)); }
void Ec2::State::save(const Address& address) { journal.put(kAddressTable, address.id, write_record(address)); }
void Ec2::State::save(const KeyPair& pair) { journal.put(kKeyTable, pair.name, write_record(pair)); }

Duration next_pause(Duration& next) {
  const Duration now = std::max(next, kRetryFirst);
  next = std::min(now * 2, kRetryMost);
  return now;
}

bool well_formed(const std::string& id, const std::string& prefix) {
  if (!id.starts_with(prefix)) return false;
  std::string digits = id.substr(prefix.size());
  return (digits.size() == 8 || digits.size() == 17) &&
         digits.find_first_not_of("0123456789abcdef") == std::string::npos;
}

const Options& Ec2::options() const { return state_->options; }
Vpcs& Ec2::vpcs() { return state_->vpcs; }
const Vpcs& Ec2::vpcs() const { return state_->vpcs; }

const Vpc& Ec2::create_vpc(const std::string& cidr, const Tags& tags) {
  const Vpc& made = state_->vpcs.create_vpc(cidr, tags);
  state_->make_default_group(state_->new_id("sg-"), made.id);
  return made;
}

void Ec2::delete_vpc(const std::string& id) {
  state_->vpcs.delete_vpc(id);
  const std::string group = default_security_group_id(id);
  state_->groups.erase(group);
  state_->journal.erase(kGroupTable, group);
}

bool Ec2::State::used(const std::string& id) const {
  if (balancer_uses && balancer_uses(id)) return true;
  for (const auto& [key, instance] : instances) {
    if (instance.on_network() && (instance.subnet_id == id || instance.vpc_id == id)) return true;
  }
  return std::any_of(groups.begin(), groups.end(), [&](const auto& entry) {
    return entry.second.vpc_id == id && entry.second.name != kDefaultGroup;
  });
}

bool Ec2::State::has_public(const std::string& vpc_id) const {
  return std::any_of(instances.begin(), instances.end(), [&](const auto& entry) {
    return entry.second.vpc_id == vpc_id && entry.second.on_network() && !entry.second.public_address.empty();
  });
}

}  // namespace kiln::region::ec2
