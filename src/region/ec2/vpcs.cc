// Vpcs: VPCs and subnets, and the default ones.
#include "region/ec2/vpcs.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/digest.h"
#include "base/text.h"
#include "region/api_error.h"
#include "region/aws_regions.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {
namespace {

constexpr int kLargest = 16;  // prefixes that VPCs and subnets may have
constexpr int kSmallest = 28;

Cidr checked_cidr(const std::string& text) {
  const auto cidr = Cidr::parse(text);
  if (cidr) return *cidr;
  throw ApiError("InvalidParameterValue",
                 fmt::format("Value ({}) for parameter cidrBlock is invalid. This is not a valid CIDR block.", text));
}

// Ranges that no VPC can have: https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html
bool reserved(const Cidr& cidr) {
  for (const char* text : {"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"}) {
    if (cidr.overlaps(*Cidr::parse(text))) return true;
  }
  return false;
}

}  // namespace

std::string Cidr::str() const { return fmt::format("{}/{}", address_text(first), prefix); }

std::optional<Cidr> Cidr::parse(const std::string& text) {
  const auto slash = text.find('/');
  if (slash == std::string::npos) return std::nullopt;
  const auto address = parse_address(text.substr(0, slash));
  const auto prefix = parse_int(text.substr(slash + 1));
  if (!address || !prefix || *prefix < 0 || *prefix > 32) return std::nullopt;
  Cidr out;
  out.prefix = static_cast<int>(*prefix);
  out.first = out.prefix == 0 ? 0 : *address & ~std::uint32_t{0} << (32 - out.prefix);
  return out;
}

std::string address_text(std::uint32_t address) {
  return fmt::format("{}.{}.{}.{}", address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255);
}

std::optional<std::uint32_t> parse_address(const std::string& text) {
  in_addr address{};
  if (::inet_pton(AF_INET, text.c_str(), &address) != 1) return std::nullopt;
  return ntohl(address.s_addr);
}

std::vector<Zone> zones_of(const std::string& region) {
  std::vector<Zone> zones;
  for (int i = 0; i < 3; ++i) {
    zones.push_back(
        {region + static_cast<char>('a' + i), fmt::format("{}-az{}", find_aws_region(region)->zone_prefix, i + 1)});
  }
  return zones;
}

Vpcs::Vpcs(host::Random& random, Tables& journal, Surroundings around)
    : random_(random), journal_(journal), around_(std::move(around)) {}

void Vpcs::replicate(const std::string& table, const std::string& key, const std::optional<std::string>& text) {
  if (table == kVpcTable) take_record(vpcs_, key, text, read_vpc);
  if (table == kSubnetTable) take_record(subnets_, key, text, read_subnet);
  if (table == kRouteTable) take_record(tables_, key, text, read_route_table);
  if (table == kGatewayTable) take_record(gateways_, key, text, read_internet_gateway);
}

void Vpcs::ensure_default() {
  if (!vpcs_.contains(default_vpc_id())) make_default();
}

std::string Vpcs::fixed_id(const std::string& prefix, const std::string& what) const {
  return prefix + sha256(around_.account + "/" + around_.region + "/" + what).hex().substr(0, 17);
}

void Vpcs::make_default() {
  Vpc vpc;
  vpc.id = default_vpc_id();
  vpc.cidr = "172.31.0.0/16";
  vpc.is_default = true;
  vpc.dns_hostnames = true;
  save(vpcs_[vpc.id] = vpc);
  InternetGateway gateway;
  gateway.id = fixed_id("igw-", "internet gateway");
  gateway.vpc_id = vpc.id;
  save(gateways_[gateway.id] = gateway);
  RouteTable& table =
      make_main_table(vpc, fixed_id("rtb-", "main route table"), fixed_id("rtbassoc-", "main association"));
  table.way_out = gateway.id;
  save(table);
  const std::vector<Zone> zones = zones_of(around_.region);
  for (std::size_t i = 0; i < zones.size(); ++i) {
    Subnet subnet;
    subnet.id = fixed_id("subnet-", zones[i].name.substr(around_.region.size()));
    subnet.vpc_id = vpc.id;
    subnet.zone = zones[i].name;
    subnet.zone_id = zones[i].id;
    subnet.cidr = fmt::format("172.31.{}.0/20", i * 16);
    subnet.gateway = fmt::format("172.31.{}.1", i * 16);
    subnet.is_default = true;
    subnet.map_public = true;
    save(subnets_[subnet.id] = subnet);
  }
}

std::string Vpcs::default_vpc_id() const { return fixed_id("vpc-", "vpc"); }
const Vpc& Vpcs::default_vpc() const { return vpcs_.at(default_vpc_id()); }

const Vpc& Vpcs::vpc(const std::string& id) const {
  if (const auto found = vpcs_.find(id); found != vpcs_.end()) return found->second;
  if (!well_formed(id, "vpc-")) throw ApiError("InvalidVpcID.Malformed", fmt::format("Invalid id: \"{}\"", id));
  throw ApiError("InvalidVpcID.NotFound", fmt::format("The vpc ID '{}' does not exist", id));
}

const Vpc& Vpcs::create_vpc(const std::string& cidr, const Tags& tags) {
  const Cidr block = checked_cidr(cidr);
  if (block.prefix < kLargest || block.prefix > kSmallest || reserved(block)) {
    throw ApiError("InvalidVpc.Range", fmt::format("The CIDR '{}' is invalid.", cidr));
  }
  check_tags(tags);
  Vpc vpc;
  vpc.id = new_id("vpc-");
  vpc.cidr = block.str();
  vpc.tags = tags;
  const Vpc& kept = vpcs_[vpc.id] = vpc;
  save(kept);
  save(make_main_table(kept, new_id("rtb-"), new_id("rtbassoc-")));
  return kept;
}

void Vpcs::delete_vpc(const std::string& id) {
  const Vpc& gone = vpc(id);
  if (gone.is_default) {
    throw ApiError("UnsupportedOperation",
                   "This region does not delete its default VPC: nothing here could make it anew");
  }
  const auto in_it = [&](const auto& entry) { return entry.second.vpc_id == id; };
  const bool holds = std::any_of(subnets_.begin(), subnets_.end(), in_it) ||
                     std::any_of(gateways_.begin(), gateways_.end(), in_it) ||
                     std::count_if(tables_.begin(), tables_.end(), in_it) > 1;
  if (holds || around_.used(id)) {
    throw ApiError("DependencyViolation", fmt::format("The vpc '{}' has dependencies and cannot be deleted.", id));
  }
  const auto main = std::find_if(tables_.begin(), tables_.end(), in_it);
  journal_.erase(kRouteTable, main->first);
  tables_.erase(main);
  journal_.erase(kVpcTable, id);
  vpcs_.erase(id);
  around_.changed();
}

void Vpcs::set_dns(const std::string& id, std::optional<bool> support, std::optional<bool> hostnames) {
  vpc(id);
  Vpc& one = vpcs_.at(id);
  one.dns_support = support.value_or(one.dns_support);
  one.dns_hostnames = hostnames.value_or(one.dns_hostnames);
  save(one);
}

const Subnet& Vpcs::subnet(const std::string& id) const {
  if (const auto found = subnets_.find(id); found != subnets_.end()) return found->second;
  if (!well_formed(id, "subnet-")) throw ApiError("InvalidSubnetID.Malformed", fmt::format("Invalid id: \"{}\"", id));
  throw ApiError("InvalidSubnetID.NotFound", fmt::format("The subnet ID '{}' does not exist", id));
}

const Subnet* Vpcs::default_subnet(const std::string& zone) const {
  for (const auto& [id, subnet] : subnets_) {
    if (subnet.is_default && subnet.zone == zone) return &subnet;
  }
  return nullptr;
}

std::vector<const Subnet*> Vpcs::subnets_of(const std::string& vpc) const {
  std::vector<const Subnet*> out;
  for (const auto& [id, subnet] : subnets_) {
    if (subnet.vpc_id == vpc) out.push_back(&subnet);
  }
  return out;
}

const Subnet& Vpcs::create_subnet(const std::string& vpc_id, const std::string& cidr, const std::string& zone,
                                  const Tags& tags) {
  const Vpc& owner = vpc(vpc_id);
  const Cidr block = checked_cidr(cidr);
  if (block.prefix < kLargest || block.prefix > kSmallest || !Cidr::parse(owner.cidr)->holds(block)) {
    throw ApiError("InvalidSubnet.Range", fmt::format("The CIDR '{}' is invalid.", cidr));
  }
  for (const Subnet* other : subnets_of(vpc_id)) {
    if (block.overlaps(*Cidr::parse(other->cidr))) {
      throw ApiError("InvalidSubnet.Conflict", fmt::format("The CIDR '{}' conflicts with another subnet", cidr));
    }
  }
  check_tags(tags);
  const std::vector<Zone> zones = zones_of(around_.region);
  const auto place = zone.empty() ? zones.begin() : std::find_if(zones.begin(), zones.end(), [&](const Zone& one) {
    return one.name == zone || one.id == zone;
  });
  if (place == zones.end()) {
    throw ApiError("InvalidParameterValue",
                   fmt::format("Value ({}) for parameter availabilityZone is invalid. Subnets can currently only be "
                               "created in the following availability zones: {}, {}, {}.",
                               zone, zones[0].name, zones[1].name, zones[2].name));
  }
  Subnet subnet;
  subnet.id = new_id("subnet-");
  subnet.vpc_id = vpc_id;
  subnet.zone = place->name;
  subnet.zone_id = place->id;
  subnet.cidr = block.str();
  subnet.gateway = address_text(block.first + 1);
  subnet.prefix = block.prefix;
  subnet.tags = tags;
  const Subnet& kept = subnets_[subnet.id] = subnet;
  save(kept);
  around_.changed();
  return kept;
}

void Vpcs::delete_subnet(const std::string& id) {
  if (subnet(id).is_default) {
    throw ApiError("UnsupportedOperation",
                   "This region does not delete its default subnets: nothing here could make them anew");
  }
  if (around_.used(id)) {
    throw ApiError("DependencyViolation", fmt::format("The subnet '{}' has dependencies and cannot be deleted.", id));
  }
  for (auto& [table_id, table] : tables_) {
    if (std::erase_if(table.associations, [&](const auto& one) { return one.subnet_id == id; }) > 0) save(table);
  }
  journal_.erase(kSubnetTable, id);
  subnets_.erase(id);
  around_.changed();
}

void Vpcs::map_public(const std::string& id, bool on) {
  subnet(id);
  subnets_.at(id).map_public = on;
  save(subnets_.at(id));
}

Tags* Vpcs::tags_of(const std::string& id) {
  const auto in = [&](auto& table) -> Tags* {
    const auto found = table.find(id);
    return found == table.end() ? nullptr : &found->second.tags;
  };
  if (Tags* found = in(vpcs_)) return found;
  if (Tags* found = in(subnets_)) return found;
  if (Tags* found = in(tables_)) return found;
  return in(gateways_);
}

void Vpcs::save_tags(const std::string& id) {
  const auto in = [&](auto& table) {
    if (const auto found = table.find(id); found != table.end()) save(found->second);
  };
  in(vpcs_);
  in(subnets_);
  in(tables_);
  in(gateways_);
}

void Vpcs::save(const Vpc& vpc) { journal_.put(kVpcTable, vpc.id, write_record(vpc)); }
void Vpcs::save(const Subnet& subnet) { journal_.put(kSubnetTable, subnet.id, write_record(subnet)); }
void Vpcs::save(const RouteTable& table) { journal_.put(kRouteTable, table.id, write_record(table)); }
void Vpcs::save(const InternetGateway& gateway) { journal_.put(kGatewayTable, gateway.id, write_record(gateway)); }

void Vpcs::delete_route_table(const std::string& id) {
  if (!route_table(id).associations.empty()) {
    throw ApiError("DependencyViolation",
                   fmt::format("The routeTable '{}' has dependencies and cannot be deleted.", id));
  }
  journal_.erase(kRouteTable, id);
  tables_.erase(id);
}

void Vpcs::delete_gateway(const std::string& id) {
  if (!gateway(id).vpc_id.empty()) {
    throw ApiError("DependencyViolation",
                   fmt::format("The internetGateway '{}' has dependencies and cannot be deleted.", id));
  }
  journal_.erase(kGatewayTable, id);
  gateways_.erase(id);
}

}  // namespace kiln::region::ec2
