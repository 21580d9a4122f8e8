// Ec2: its beginning: what the journal holds, and the machines that outlived us.
#include "region/ec2/ec2.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "region/api_error.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {
namespace {

// An id that is the same whenever a region of this account is asked for it: of what nobody creates.
std::string fixed_id(const std::string& prefix, const Options& options, const std::string& what) {
  return prefix + sha256(options.account + "/" + options.region + "/" + what).hex().substr(0, 17);
}

}  // namespace

Ec2::State::State(host::Loop& on, host::Random& chance, Journal& book, machine::Machines& hosts,
                  machine::Network& wires, const ImagePlacements& where, Options with)
    : loop(on),
      random(chance),
      journal(book),
      machines(hosts),
      network(wires),
      placements(where),
      options(std::move(with)) {
  vpc = {fixed_id("vpc-", options, "vpc"), "172.31.0.0/16"};
  const char* zones[] = {"a", "b", "c"};
  for (int i = 0; i < 3; ++i) {
    Subnet subnet;
    subnet.id = fixed_id("subnet-", options, zones[i]);
    subnet.zone = options.region + zones[i];
    subnet.zone_id = fmt::format("use1-az{}", i + 1);
    subnet.cidr = fmt::format("172.31.{}.0/20", i * 16);
    subnet.gateway = fmt::format("172.31.{}.1", i * 16);
    subnets.push_back(subnet);
  }
}

Ec2::Ec2(host::Loop& loop, host::Random& random, Journal& journal, machine::Machines& machines,
         machine::Network& network, const ImagePlacements& placements, Options options)
    : state_(std::make_unique<State>(loop, random, journal, machines, network, placements, std::move(options))) {}

Ec2::~Ec2() = default;

void Ec2::open(const std::function<void()>& once_loaded) {
  State& s = *state_;
  s.list_base_images();
  for (const auto& [id, text] : s.journal.load(kInstanceTable)) s.instances[id] = read_instance(text);
  for (const auto& [id, text] : s.journal.load(kImageTable)) s.images[id] = read_image(text);
  for (const auto& [id, text] : s.journal.load(kTemplateTable)) s.templates[id] = read_launch_template(text);
  for (const auto& [id, text] : s.journal.load(kGroupTable)) s.groups[id] = read_security_group(text);
  for (const auto& [name, text] : s.journal.load(kKeyTable)) s.keys[name] = read_key_pair(text);
  s.template_tokens = s.journal.load(kTokenTable);
  std::string default_group = default_security_group_id();
  if (!s.groups.contains(default_group)) {
    SecurityGroup group;
    group.id = default_group;
    group.name = "default";
    group.description = "default VPC security group";
    group.vpc_id = s.vpc.id;
    group.rules = {{s.new_id("sgr-"), false, "-1", -1, -1, "", default_group, ""},
                   {s.new_id("sgr-"), true, "-1", -1, -1, "0.0.0.0/0", "", ""}};
    s.save(s.groups[default_group] = group);
  }
  if (once_loaded) once_loaded();
  s.resume();
}

void Ec2::State::save(const Instance& instance) { journal.put(kInstanceTable, instance.id, write_record(instance)); }
void Ec2::State::save(const Image& image) { journal.put(kImageTable, image.id, write_record(image)); }
void Ec2::State::save(const LaunchTemplate& value) { journal.put(kTemplateTable, value.id, write_record(value)); }
void Ec2::State::save(const SecurityGroup& group) { journal.put(kGroupTable, group.id, write_record(group)); }
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
const Vpc& Ec2::vpc() const { return state_->vpc; }
const std::vector<Subnet>& Ec2::subnets() const { return state_->subnets; }

const Subnet* Ec2::find_subnet(const std::string& id) const {
  for (const Subnet& subnet : state_->subnets) {
    if (subnet.id == id) return &subnet;
  }
  return nullptr;
}

std::string Ec2::default_security_group_id() const { return fixed_id("sg-", state_->options, "default"); }
const SecurityGroup& Ec2::default_security_group() const { return state_->groups.at(default_security_group_id()); }

}  // namespace kiln::region::ec2
