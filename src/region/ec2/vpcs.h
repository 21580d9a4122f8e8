// Vpcs: VPCs, their subnets, route tables and internet gateways, by AWS's rules; and the default VPC as AWS makes it.
//
// It lives on the region's loop. Every change is in the journal before the turn ends. What a caller did wrong is an
// ApiError with AWS's code. The only route that a table takes beside its local one is 0.0.0.0/0 to an internet gateway;
// the default VPC and its subnets cannot be deleted, for there is no call here that makes them anew.
// https://docs.aws.amazon.com/vpc/latest/userguide/default-vpc.html
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "host/random.h"
#include "region/ec2/model.h"
#include "region/journal.h"

namespace kiln::region::ec2 {

// An IPv4 block, its host bits taken off: {0x0a000000, 16}.
struct Cidr {
  std::uint32_t first = 0;
  int prefix = 32;
  std::uint32_t last() const { return first + static_cast<std::uint32_t>((std::uint64_t{1} << (32 - prefix)) - 1); }
  bool holds(const Cidr& other) const { return first <= other.first && other.last() <= last(); }
  bool overlaps(const Cidr& other) const { return first <= other.last() && other.first <= last(); }
  std::string str() const;
  static std::optional<Cidr> parse(const std::string& text);
};
std::string address_text(std::uint32_t address);
std::optional<std::uint32_t> parse_address(const std::string& text);

// The zones of a region of that name, three of them.
std::vector<Zone> zones_of(const std::string& region);

class Vpcs {
 public:
  struct Surroundings {
    std::string account;
    std::string region;
    std::function<void()> changed;                              // who may reach what may be another now
    std::function<bool(const std::string& id)> used;            // by something beyond: a VPC or a subnet
    std::function<bool(const std::string& vpc_id)> has_public;  // an instance of it has a public address
  };
  // All must outlive it.
  Vpcs(host::Random& random, Tables& journal, Surroundings around);
  // Takes over what the journal has under a key of one of these tables; other tables are not ours.
  void replicate(const std::string& table, const std::string& key, const std::optional<std::string>& text);
  // Makes the default VPC unless it is there.
  void ensure_default();

  const std::map<std::string, Vpc>& vpcs() const { return vpcs_; }
  const Vpc& vpc(const std::string& id) const;  // ApiError InvalidVpcID.NotFound, .Malformed
  const Vpc& default_vpc() const;
  std::string default_vpc_id() const;
  const Vpc& create_vpc(const std::string& cidr, const Tags& tags);  // with its main route table
  void delete_vpc(const std::string& id);                            // ApiError DependencyViolation
  void set_dns(const std::string& id, std::optional<bool> support, std::optional<bool> hostnames);

  const std::map<std::string, Subnet>& subnets() const { return subnets_; }
  const Subnet& subnet(const std::string& id) const;                    // ApiError InvalidSubnetID.NotFound, .Malformed
  const Subnet* default_subnet(const std::string& zone) const;          // null: there is no such zone
  std::vector<const Subnet*> subnets_of(const std::string& vpc) const;  // by id
  // A zone that is empty is the first.
  const Subnet& create_subnet(const std::string& vpc, const std::string& cidr, const std::string& zone,
                              const Tags& tags);
  void delete_subnet(const std::string& id);
  void map_public(const std::string& subnet, bool on);
  // Whether packets from the subnet find a way to the internet.
  bool way_out(const Subnet& subnet) const;

  const std::map<std::string, RouteTable>& route_tables() const { return tables_; }
  const RouteTable& route_table(const std::string& id) const;
  const RouteTable& create_route_table(const std::string& vpc, const Tags& tags, const std::string& client_token);
  void delete_route_table(const std::string& id);
  // Of 0.0.0.0/0. `create` and `replace` say which of "there is one" and "there is none" is an error.
  void create_route(const std::string& table, const std::string& gateway);
  void replace_route(const std::string& table, const std::string& gateway);
  void delete_route(const std::string& table);
  // Whether the table's route out leads nowhere any more.
  bool blackhole(const RouteTable& table) const;
  // The new association's id.
  std::string associate(const std::string& table, const std::string& subnet);
  void disassociate(const std::string& association);
  // Also of the main one: then the other table becomes the VPC's main table.
  std::string replace_association(const std::string& association, const std::string& table);

  const std::map<std::string, InternetGateway>& gateways() const { return gateways_; }
  const InternetGateway& gateway(const std::string& id) const;
  const InternetGateway& create_gateway(const Tags& tags);
  void delete_gateway(const std::string& id);
  void attach(const std::string& gateway, const std::string& vpc);
  void detach(const std::string& gateway, const std::string& vpc);

  // An id that is the same whenever a region of this account is asked for it: of what nobody creates.
  std::string fixed_id(const std::string& prefix, const std::string& what) const;

  // The tags of anything here, null for an id that is not ours; and their keeping after a change.
  Tags* tags_of(const std::string& id);
  void save_tags(const std::string& id);

 private:
  std::string new_id(const std::string& prefix) { return prefix + random_.hex(17); }
  void make_default();
  RouteTable& make_main_table(const Vpc& vpc, const std::string& id, const std::string& association);
  const RouteTable& table_of(const Subnet& subnet) const;
  std::pair<RouteTable*, RouteTable::Association*> find_association(const std::string& id);
  void point(RouteTable& table, const std::string& gateway);
  void save(const Vpc& vpc);
  void save(const Subnet& subnet);
  void save(const RouteTable& table);
  void save(const InternetGateway& gateway);

  host::Random& random_;
  Tables& journal_;
  Surroundings around_;
  std::map<std::string, Vpc> vpcs_;
  std::map<std::string, Subnet> subnets_;
  std::map<std::string, RouteTable> tables_;
  std::map<std::string, InternetGateway> gateways_;
};

}  // namespace kiln::region::ec2
