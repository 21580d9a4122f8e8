// Vpcs: route tables and internet gateways: which subnets have a way out.
// https://docs.aws.amazon.com/vpc/latest/userguide/VPC_Route_Tables.html
#include <fmt/format.h>

#include <algorithm>

#include "region/api_error.h"
#include "region/ec2/state.h"
#include "region/ec2/vpcs.h"

namespace kiln::region::ec2 {

RouteTable& Vpcs::make_main_table(const Vpc& vpc, const std::string& id, const std::string& association) {
  RouteTable table;
  table.id = id;
  table.vpc_id = vpc.id;
  table.associations = {{association, ""}};
  return tables_[id] = table;
}

const RouteTable& Vpcs::route_table(const std::string& id) const {
  if (const auto found = tables_.find(id); found != tables_.end()) return found->second;
  if (!well_formed(id, "rtb-")) throw ApiError("InvalidRouteTableId.Malformed", fmt::format("Invalid id: \"{}\"", id));
  throw ApiError("InvalidRouteTableID.NotFound", fmt::format("The routeTable ID '{}' does not exist", id));
}

const RouteTable& Vpcs::create_route_table(const std::string& vpc_id, const Tags& tags,
                                           const std::string& client_token) {
  vpc(vpc_id);
  check_tags(tags);
  for (const auto& [id, other] : tables_) {
    if (client_token.empty() || other.client_token != client_token) continue;
    if (other.vpc_id == vpc_id) return other;
    throw ApiError("IdempotentParameterMismatch",
                   "The request uses the same client token as a previous, but non-identical request");
  }
  RouteTable table;
  table.id = new_id("rtb-");
  table.vpc_id = vpc_id;
  table.client_token = client_token;
  table.tags = tags;
  const RouteTable& kept = tables_[table.id] = table;
  save(kept);
  return kept;
}

void Vpcs::point(RouteTable& table, const std::string& gateway_id) {
  if (gateway(gateway_id).vpc_id != table.vpc_id) {
    throw ApiError(
        "InvalidParameterValue",
        fmt::format("route table {} and network gateway {} belong to different networks", table.id, gateway_id));
  }
  table.way_out = gateway_id;
  save(table);
  around_.changed();
}

void Vpcs::create_route(const std::string& table, const std::string& gateway_id) {
  // As on AWS, a route that is there and leads to the same gateway is made again without an error.
  const std::string& there = route_table(table).way_out;
  if (!there.empty() && there != gateway_id) {
    throw ApiError("RouteAlreadyExists", "The route identified by 0.0.0.0/0 already exists.");
  }
  point(tables_.at(table), gateway_id);
}

void Vpcs::replace_route(const std::string& table, const std::string& gateway_id) {
  if (route_table(table).way_out.empty()) {
    throw ApiError("InvalidParameterValue",
                   "There is no route defined for '0.0.0.0/0' in the route table. Use CreateRoute instead.");
  }
  point(tables_.at(table), gateway_id);
}

void Vpcs::delete_route(const std::string& table) {
  if (route_table(table).way_out.empty()) {
    throw ApiError("InvalidRoute.NotFound",
                   fmt::format("no route with destination-cidr-block 0.0.0.0/0 in route table {}", table));
  }
  tables_.at(table).way_out.clear();
  save(tables_.at(table));
  around_.changed();
}

bool Vpcs::blackhole(const RouteTable& table) const {
  if (table.way_out.empty()) return false;
  const auto found = gateways_.find(table.way_out);
  return found == gateways_.end() || found->second.vpc_id != table.vpc_id;
}

const RouteTable& Vpcs::table_of(const Subnet& subnet) const {
  const RouteTable* main = nullptr;
  for (const auto& [id, table] : tables_) {
    for (const RouteTable::Association& one : table.associations) {
      if (one.subnet_id == subnet.id) return table;
      if (one.subnet_id.empty() && table.vpc_id == subnet.vpc_id) main = &table;
    }
  }
  KILN_ASSERT(main != nullptr, "a VPC has a main route table");
  return *main;
}

bool Vpcs::way_out(const Subnet& subnet) const {
  const RouteTable& table = table_of(subnet);
  return !table.way_out.empty() && !blackhole(table);
}

std::string Vpcs::associate(const std::string& table_id, const std::string& subnet_id) {
  const RouteTable& table = route_table(table_id);
  if (subnet(subnet_id).vpc_id != table.vpc_id) {
    throw ApiError("InvalidParameterValue",
                   fmt::format("Route table {} and subnet {} belong to different networks", table_id, subnet_id));
  }
  for (const auto& [id, other] : tables_) {
    for (const RouteTable::Association& one : other.associations) {
      if (one.subnet_id != subnet_id) continue;
      if (id == table_id) return one.id;
      throw ApiError(
          "Resource.AlreadyAssociated",
          fmt::format("the specified association for route table {} conflicts with an existing association", table_id));
    }
  }
  RouteTable& changed = tables_.at(table_id);
  changed.associations.push_back({new_id("rtbassoc-"), subnet_id});
  save(changed);
  around_.changed();
  return changed.associations.back().id;
}

std::pair<RouteTable*, RouteTable::Association*> Vpcs::find_association(const std::string& id) {
  for (auto& [table_id, table] : tables_) {
    for (RouteTable::Association& one : table.associations) {
      if (one.id == id) return {&table, &one};
    }
  }
  throw ApiError("InvalidAssociationID.NotFound", fmt::format("The association ID '{}' does not exist", id));
}

void Vpcs::disassociate(const std::string& id) {
  auto [table, association] = find_association(id);
  if (association->subnet_id.empty()) {
    throw ApiError("InvalidParameterValue", fmt::format("cannot disassociate the main route table association {}", id));
  }
  std::erase(table->associations, RouteTable::Association(*association));
  save(*table);
  around_.changed();
}

std::string Vpcs::replace_association(const std::string& id, const std::string& table_id) {
  auto [from, association] = find_association(id);
  if (route_table(table_id).vpc_id != from->vpc_id) {
    throw ApiError("InvalidParameterValue",
                   fmt::format("Route table {} and the association {} belong to different networks", table_id, id));
  }
  const RouteTable::Association moved{new_id("rtbassoc-"), association->subnet_id};
  std::erase(from->associations, RouteTable::Association(*association));
  save(*from);
  RouteTable& to = tables_.at(table_id);
  to.associations.push_back(moved);
  save(to);
  around_.changed();
  return moved.id;
}

const InternetGateway& Vpcs::gateway(const std::string& id) const {
  if (const auto found = gateways_.find(id); found != gateways_.end()) return found->second;
  if (!well_formed(id, "igw-")) {
    throw ApiError("InvalidInternetGatewayId.Malformed", fmt::format("Invalid id: \"{}\"", id));
  }
  throw ApiError("InvalidInternetGatewayID.NotFound", fmt::format("The internetGateway ID '{}' does not exist", id));
}

const InternetGateway& Vpcs::create_gateway(const Tags& tags) {
  check_tags(tags);
  InternetGateway made;
  made.id = new_id("igw-");
  made.tags = tags;
  const InternetGateway& kept = gateways_[made.id] = made;
  save(kept);
  return kept;
}

void Vpcs::attach(const std::string& gateway_id, const std::string& vpc_id) {
  vpc(vpc_id);
  if (const std::string& there = gateway(gateway_id).vpc_id; !there.empty()) {
    throw ApiError("Resource.AlreadyAssociated",
                   fmt::format("resource {} is already attached to network {}", gateway_id, there));
  }
  for (const auto& [id, other] : gateways_) {
    if (other.vpc_id == vpc_id) {
      throw ApiError("InvalidParameterValue",
                     fmt::format("Network {} already has an internet gateway attached", vpc_id));
    }
  }
  gateways_.at(gateway_id).vpc_id = vpc_id;
  save(gateways_.at(gateway_id));
  around_.changed();
}

void Vpcs::detach(const std::string& gateway_id, const std::string& vpc_id) {
  vpc(vpc_id);
  if (gateway(gateway_id).vpc_id != vpc_id) {
    throw ApiError("Gateway.NotAttached", fmt::format("resource {} is not attached to network {}", gateway_id, vpc_id));
  }
  if (around_.has_public(vpc_id)) {
    throw ApiError("DependencyViolation",
                   fmt::format("Network {} has some mapped public address(es). Please unmap those public address(es) "
                               "before detaching the gateway.",
                               vpc_id));
  }
  gateways_.at(gateway_id).vpc_id.clear();
  save(gateways_.at(gateway_id));
  around_.changed();
}

}  // namespace kiln::region::ec2
