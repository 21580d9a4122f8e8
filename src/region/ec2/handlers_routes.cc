// Handlers of EC2: route tables and internet gateways.
#include <fmt/format.h>

#include <algorithm>

#include "region/ec2/filters.h"
#include "region/ec2/handlers.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {
namespace {

namespace w = wire::ec2;
using Values = std::vector<std::string>;

constexpr const char* kEverywhere = "0.0.0.0/0";

w::RouteTable to_wire(const Call& call, const Ec2& ec2, const RouteTable& table) {
  w::RouteTable out;
  out.route_table_id = table.id;
  out.vpc_id = table.vpc_id;
  out.owner_id = call.account;
  w::Route& local = out.routes.emplace_back();
  local.destination_cidr_block = ec2.vpcs().vpc(table.vpc_id).cidr;
  local.gateway_id = "local";
  local.origin = "CreateRouteTable";
  local.state = "active";
  if (!table.way_out.empty()) {
    w::Route& route = out.routes.emplace_back();
    route.destination_cidr_block = kEverywhere;
    route.gateway_id = table.way_out;
    route.origin = "CreateRoute";
    route.state = ec2.vpcs().blackhole(table) ? "blackhole" : "active";
  }
  for (const RouteTable::Association& one : table.associations) {
    w::RouteTableAssociation& association = out.associations.emplace_back();
    association.route_table_association_id = one.id;
    association.route_table_id = table.id;
    association.main = one.subnet_id.empty();
    if (!one.subnet_id.empty()) association.subnet_id = one.subnet_id;
    association.association_state.emplace().state = "associated";
  }
  out.tags = kiln::region::ec2::to_wire(table.tags);
  return out;
}

// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeRouteTables.html
std::optional<Values> filter_values(const w::RouteTable& table, const std::string& name) {
  Values values;
  const auto of_routes = [&](auto&& field) {
    for (const w::Route& route : table.routes) {
      if (const std::optional<std::string>& value = route.*field) values.push_back(*value);
    }
    return values;
  };
  if (name == "route-table-id") return Values{table.route_table_id.value_or("")};
  if (name == "vpc-id") return Values{table.vpc_id.value_or("")};
  if (name == "owner-id") return Values{table.owner_id.value_or("")};
  if (name == "route.destination-cidr-block") return of_routes(&w::Route::destination_cidr_block);
  if (name == "route.gateway-id") return of_routes(&w::Route::gateway_id);
  if (name == "route.origin") return of_routes(&w::Route::origin);
  if (name == "route.state") return of_routes(&w::Route::state);
  for (const char* other :
       {"destination-ipv6-cidr-block", "destination-prefix-list-id", "egress-only-internet-gateway-id", "instance-id",
        "nat-gateway-id", "transit-gateway-id", "vpc-peering-connection-id"}) {
    if (name == std::string("route.") + other) return Values{};
  }
  if (name == "association.gateway-id") return Values{};
  if (!name.starts_with("association.")) return std::nullopt;
  const std::string field = name.substr(12);
  if (field != "association-id" && field != "route-table-association-id" && field != "route-table-id" &&
      field != "subnet-id" && field != "main") {
    return std::nullopt;
  }
  for (const w::RouteTableAssociation& one : table.associations) {
    if (field == "route-table-id") values.push_back(one.route_table_id.value_or(""));
    if (field == "subnet-id" && one.subnet_id) values.push_back(*one.subnet_id);
    if (field == "main") values.push_back(*one.main ? "true" : "false");
    if (field.ends_with("association-id")) values.push_back(one.route_table_association_id.value_or(""));
  }
  return values;
}

void route_tables(Handlers& handlers, Ec2& ec2) {
  handlers.on<w::CreateRouteTable>([&ec2](const Call& call, const w::CreateRouteTableRequest& input) {
    only<w::CreateRouteTable>(input, {"VpcId", "TagSpecifications", "ClientToken"});
    w::CreateRouteTableResult answer;
    answer.route_table = to_wire(
        call, ec2,
        ec2.vpcs().create_route_table(input.vpc_id.value_or(""), tags_for(input.tag_specifications, "route-table"),
                                      input.client_token.value_or("")));
    if (present(input.client_token)) answer.client_token = input.client_token;
    return answer;
  });
  handlers.on<w::DeleteRouteTable>([&ec2](const Call&, const w::DeleteRouteTableRequest& input) {
    ec2.vpcs().delete_route_table(input.route_table_id.value_or(""));
    return wire::Empty{};
  });
  handlers.on<w::DescribeRouteTables>([&ec2](const Call& call, const w::DescribeRouteTablesRequest& input) {
    only<w::DescribeRouteTables>(input, {"RouteTableIds", "Filters", "MaxResults", "NextToken"});
    check_names(input.filters, [](const std::string& name) { return filter_values(w::RouteTable{}, name); });
    for (const std::string& id : input.route_table_ids) ec2.vpcs().route_table(id);
    w::DescribeRouteTablesResult answer;
    Page page(input.max_results, input.next_token);
    for (const auto& [id, table] : ec2.vpcs().route_tables()) {
      if (!listed(input.route_table_ids, id)) continue;
      w::RouteTable out = to_wire(call, ec2, table);
      if (!matches(input.filters, table.tags, [&](const std::string& name) { return filter_values(out, name); })) {
        continue;
      }
      if (page.takes(id)) answer.route_tables.push_back(std::move(out));
    }
    answer.next_token = page.next_token();
    return answer;
  });
}

void check_destination(const std::optional<std::string>& destination) {
  if (!present(destination)) {
    throw ApiError("MissingParameter",
                   "The request must contain exactly one of destinationCidrBlock, "
                   "destinationIpv6CidrBlock, destinationPrefixListId");
  }
  const auto cidr = Cidr::parse(*destination);
  if (!cidr) {
    throw ApiError("InvalidParameterValue",
                   fmt::format("Value ({}) for parameter destinationCidrBlock is invalid. This is not a valid CIDR "
                               "block.",
                               *destination));
  }
  if (cidr->prefix != 0) {
    throw ApiError("UnsupportedOperation",
                   fmt::format("This region has no route but the local one and {}; it was asked for {}", kEverywhere,
                               *destination));
  }
}

void routes(Handlers& handlers, Ec2& ec2) {
  handlers.on<w::CreateRoute>([&ec2](const Call&, const w::CreateRouteRequest& input) {
    only<w::CreateRoute>(input, {"RouteTableId", "DestinationCidrBlock", "GatewayId"});
    const RouteTable& table = ec2.vpcs().route_table(input.route_table_id.value_or(""));
    check_destination(input.destination_cidr_block);
    ec2.vpcs().create_route(table.id, input.gateway_id.value_or(""));
    w::CreateRouteResult answer;
    answer.return_ = true;
    return answer;
  });
  handlers.on<w::ReplaceRoute>([&ec2](const Call&, const w::ReplaceRouteRequest& input) {
    only<w::ReplaceRoute>(input, {"RouteTableId", "DestinationCidrBlock", "GatewayId"});
    const RouteTable& table = ec2.vpcs().route_table(input.route_table_id.value_or(""));
    check_destination(input.destination_cidr_block);
    ec2.vpcs().replace_route(table.id, input.gateway_id.value_or(""));
    return wire::Empty{};
  });
  handlers.on<w::DeleteRoute>([&ec2](const Call&, const w::DeleteRouteRequest& input) {
    only<w::DeleteRoute>(input, {"RouteTableId", "DestinationCidrBlock"});
    const RouteTable& table = ec2.vpcs().route_table(input.route_table_id.value_or(""));
    check_destination(input.destination_cidr_block);
    ec2.vpcs().delete_route(table.id);
    return wire::Empty{};
  });
  handlers.on<w::AssociateRouteTable>([&ec2](const Call&, const w::AssociateRouteTableRequest& input) {
    only<w::AssociateRouteTable>(input, {"RouteTableId", "SubnetId"});
    w::AssociateRouteTableResult answer;
    answer.association_id = ec2.vpcs().associate(input.route_table_id.value_or(""), input.subnet_id.value_or(""));
    answer.association_state.emplace().state = "associated";
    return answer;
  });
  handlers.on<w::DisassociateRouteTable>([&ec2](const Call&, const w::DisassociateRouteTableRequest& input) {
    ec2.vpcs().disassociate(input.association_id.value_or(""));
    return wire::Empty{};
  });
  handlers.on<w::ReplaceRouteTableAssociation>(
      [&ec2](const Call&, const w::ReplaceRouteTableAssociationRequest& input) {
        w::ReplaceRouteTableAssociationResult answer;
        answer.new_association_id =
            ec2.vpcs().replace_association(input.association_id.value_or(""), input.route_table_id.value_or(""));
        answer.association_state.emplace().state = "associated";
        return answer;
      });
}

w::InternetGateway to_wire(const Call& call, const InternetGateway& gateway) {
  w::InternetGateway out;
  out.internet_gateway_id = gateway.id;
  out.owner_id = call.account;
  if (!gateway.vpc_id.empty()) {
    w::InternetGatewayAttachment& attachment = out.attachments.emplace_back();
    attachment.vpc_id = gateway.vpc_id;
    attachment.state = "available";  // AWS's word for a gateway that is attached
  }
  out.tags = kiln::region::ec2::to_wire(gateway.tags);
  return out;
}

void gateways(Handlers& handlers, Ec2& ec2) {
  handlers.on<w::CreateInternetGateway>([&ec2](const Call& call, const w::CreateInternetGatewayRequest& input) {
    w::CreateInternetGatewayResult answer;
    answer.internet_gateway =
        to_wire(call, ec2.vpcs().create_gateway(tags_for(input.tag_specifications, "internet-gateway")));
    return answer;
  });
  handlers.on<w::DeleteInternetGateway>([&ec2](const Call&, const w::DeleteInternetGatewayRequest& input) {
    ec2.vpcs().delete_gateway(input.internet_gateway_id.value_or(""));
    return wire::Empty{};
  });
  handlers.on<w::AttachInternetGateway>([&ec2](const Call&, const w::AttachInternetGatewayRequest& input) {
    ec2.vpcs().attach(input.internet_gateway_id.value_or(""), input.vpc_id.value_or(""));
    return wire::Empty{};
  });
  handlers.on<w::DetachInternetGateway>([&ec2](const Call&, const w::DetachInternetGatewayRequest& input) {
    ec2.vpcs().detach(input.internet_gateway_id.value_or(""), input.vpc_id.value_or(""));
    return wire::Empty{};
  });
  handlers.on<w::DescribeInternetGateways>([&ec2](const Call& call, const w::DescribeInternetGatewaysRequest& input) {
    only<w::DescribeInternetGateways>(input, {"InternetGatewayIds", "Filters", "MaxResults", "NextToken"});
    const auto values_of = [&call](const InternetGateway& one, const std::string& name) -> std::optional<Values> {
      if (name == "internet-gateway-id") return Values{one.id};
      if (name == "owner-id") return Values{call.account};
      if (name == "attachment.vpc-id") return one.vpc_id.empty() ? Values{} : Values{one.vpc_id};
      if (name == "attachment.state") return one.vpc_id.empty() ? Values{} : Values{"available"};
      return std::nullopt;
    };
    check_names(input.filters, [&](const std::string& name) { return values_of(InternetGateway{}, name); });
    for (const std::string& id : input.internet_gateway_ids) ec2.vpcs().gateway(id);
    w::DescribeInternetGatewaysResult answer;
    Page page(input.max_results, input.next_token);
    for (const auto& [id, gateway] : ec2.vpcs().gateways()) {
      const auto values = [&, &one = gateway](const std::string& name) { return values_of(one, name); };
      if (!listed(input.internet_gateway_ids, id) || !matches(input.filters, gateway.tags, values)) continue;
      if (page.takes(id)) answer.internet_gateways.push_back(to_wire(call, gateway));
    }
    answer.next_token = page.next_token();
    return answer;
  });
}

}  // namespace

void serve_routes(Handlers& handlers, Ec2& ec2) {
  route_tables(handlers, ec2);
  routes(handlers, ec2);
  gateways(handlers, ec2);
}

}  // namespace kiln::region::ec2
