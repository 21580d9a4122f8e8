// Ec2: its beginning: what the journal holds, and the machines that outlived us.
#include "region/ec2/ec2.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "region/api_error.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {

Ec2::State::State(host::Loop& on, host::Random& chance, Journal& book, machine::Machines& hosts,
                  machine::Network& wires, const ImagePlacements& where, Options with)
    : loop(on),
      random(chance),
      journal(book),
      machines(hosts),
      network(wires),
      placements(where),
      options(std::move(with)),
      vpcs(chance, book,
           {options.account, options.region, [this] { network_changed(); },
            [this](const std::string& id) { return used(id); },
            [this](const std::string& vpc) { return has_public(vpc); }}) {}

Ec2::Ec2(host::Loop& loop, host::Random& random, Journal& journal, machine::Machines& machines,
         machine::Network& network, const ImagePlacements& placements, Options options)
    : state_(std::make_unique<State>(loop, random, journal, machines, network, placements, std::move(options))) {}

Ec2::~Ec2() = default;

void Ec2::open(const std::function<void()>& once_loaded) {
  State& s = *state_;
  for (const auto& [id, text] : s.journal.load(kInstanceTable)) s.instances[id] = read_instance(text);
  for (const auto& [id, text] : s.journal.load(kImageTable)) s.images[id] = read_image(text);
  for (const auto& [id, text] : s.journal.load(kTemplateTable)) s.templates[id] = read_launch_template(text);
  for (const auto& [id, text] : s.journal.load(kGroupTable)) s.groups[id] = read_security_group(text);
  for (const auto& [name, text] : s.journal.load(kKeyTable)) s.keys[name] = read_key_pair(text);
  s.template_tokens = s.journal.load(kTokenTable);
  for (const auto& [id, text] : s.journal.load(kAddressTable)) s.elastic[id] = read_address(text);
  s.vpcs.open();
  const std::string default_group = s.vpcs.fixed_id("sg-", "default");
  if (!s.groups.contains(default_group)) s.make_default_group(default_group, s.vpcs.default_vpc().id);
  if (once_loaded) once_loaded();
  s.resume();
}

void Ec2::State::save(const Instance& instance) { journal.put(kInstanceTable, instance.id, write_record(instance)); }
void Ec2::State::save(const Image& image) { journal.put(kImageTable, image.id, write_record(image)); }
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
