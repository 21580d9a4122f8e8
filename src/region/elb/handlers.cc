// Handlers of ELBv2: load balancers, listeners and tags; those of target groups are in handlers_targets.cc.
#include "region/elb/handlers.h"

#include <fmt/format.h>

#include "region/elb/handlers_targets.h"
#include "region/elb/wire_values.h"

namespace kiln::region::elb {

namespace {

namespace w = wire::elb;

// What is left of `items` when ids or names are given; ApiError `code` for one that is not there.
template <typename Item, typename Name>
std::vector<const Item*> select(const std::vector<const Item*>& items, const std::vector<std::string>& wanted,
                                Name name, const char* code, const char* what) {
  std::vector<const Item*> result;
  for (const std::string& one : wanted) {
    auto found = std::find_if(items.begin(), items.end(), [&](const Item* item) { return name(*item) == one; });
    if (found == items.end()) throw ApiError(code, fmt::format("{} '[{}]' not found", what, one));
    if (std::find(result.begin(), result.end(), *found) == result.end()) result.push_back(*found);
  }
  return result;
}

w::CreateLoadBalancerOutput create_load_balancer(Elb& elb, const w::CreateLoadBalancerInput& input) {
  only<w::CreateLoadBalancer>(
      input, {"Name", "Subnets", "SubnetMappings", "SecurityGroups", "Scheme", "Tags", "Type", "IpAddressType"});
  std::string type = input.type.value_or("application");
  if (type != "application") {
    throw ApiError("InvalidConfigurationRequest",
                   fmt::format("Kiln's region serves load balancers of type 'application' only, not '{}'", type));
  }
  if (input.ip_address_type.value_or("ipv4") != "ipv4") {
    throw ApiError(
        "InvalidConfigurationRequest",
        fmt::format("Kiln's region serves the IP address type 'ipv4' only, not '{}'", *input.ip_address_type));
  }
  NewLoadBalancer wanted;
  wanted.name = input.name.value_or("");
  wanted.subnets = input.subnets;
  if (!input.subnets.empty() && !input.subnet_mappings.empty()) {
    throw ApiError("ValidationError", "You can specify either Subnets or SubnetMappings, not both");
  }
  for (const w::SubnetMapping& mapping : input.subnet_mappings) {
    if (mapping.allocation_id || mapping.private_i_pv4_address || mapping.i_pv6_address ||
        mapping.source_nat_ipv6_prefix) {
      throw ApiError("InvalidConfigurationRequest",
                     "A subnet mapping of an Application Load Balancer takes a SubnetId only");
    }
    wanted.subnets.push_back(mapping.subnet_id.value_or(""));
  }
  wanted.security_groups = input.security_groups;
  wanted.scheme = input.scheme.value_or("internet-facing");
  wanted.tags = read_tags(input.tags);
  w::CreateLoadBalancerOutput output;
  output.load_balancers.push_back(to_wire(elb, elb.create_load_balancer(wanted)));
  return output;
}

w::DescribeLoadBalancersOutput describe_load_balancers(Elb& elb, const w::DescribeLoadBalancersInput& input) {
  only<w::DescribeLoadBalancers>(input, {"LoadBalancerArns", "Names", "Marker", "PageSize"});
  if (!input.load_balancer_arns.empty() && !input.names.empty()) {
    throw ApiError("ValidationError",
                   "Load balancer names and load balancer ARNs cannot be specified at the same time");
  }
  auto all = elb.load_balancers();
  constexpr const char* kCode = "LoadBalancerNotFound";
  if (!input.names.empty())
    all = select(
        all, input.names, [](const LoadBalancer& one) { return one.name; }, kCode, "Load balancers");
  if (!input.load_balancer_arns.empty()) {
    all = select(
        all, input.load_balancer_arns, [](const LoadBalancer& one) { return one.arn.str(); }, kCode, "Load balancers");
  }
  std::sort(all.begin(), all.end(), [](auto* one, auto* other) { return one->name < other->name; });
  w::DescribeLoadBalancersOutput output;
  for (const LoadBalancer* one :
       page(all, input.marker, input.page_size, output.next_marker, [](auto* item) { return item->name; })) {
    output.load_balancers.push_back(to_wire(elb, *one));
  }
  return output;
}

void serve_load_balancers(Handlers& handlers, Elb& elb) {
  handlers.on<w::CreateLoadBalancer>(
      [&elb](const Call&, const auto& input) { return create_load_balancer(elb, input); });
  handlers.when<w::DescribeLoadBalancers>([&elb](const w::DescribeLoadBalancersInput& input) {
    if (input.names.empty() && input.load_balancer_arns.empty()) return true;
    const auto named = describe_load_balancers(elb, input).load_balancers;
    return std::none_of(named.begin(), named.end(), [](const auto& one) { return one.state->code == "provisioning"; });
  });
  handlers.on<w::DescribeLoadBalancers>(
      [&elb](const Call&, const auto& input) { return describe_load_balancers(elb, input); });
  handlers.on<w::DeleteLoadBalancer>([&elb](const Call&, const auto& input) {
    elb.delete_load_balancer(LoadBalancerArn(input.load_balancer_arn.value_or("")));
    return w::DeleteLoadBalancerOutput{};
  });
  handlers.on<w::DescribeLoadBalancerAttributes>([&elb](const Call&, const auto& input) {
    w::DescribeLoadBalancerAttributesOutput output;
    for (const auto& [key, value] : elb.attributes(LoadBalancerArn(input.load_balancer_arn.value_or("")))) {
      output.attributes.push_back({key, value});
    }
    return output;
  });
  handlers.on<w::ModifyLoadBalancerAttributes>([&elb](const Call&, const auto& input) {
    LoadBalancerArn arn(input.load_balancer_arn.value_or(""));
    std::map<std::string, std::string> changes;
    for (const auto& one : input.attributes) changes[one.key.value_or("")] = one.value.value_or("");
    elb.set_attributes(arn, changes);
    w::ModifyLoadBalancerAttributesOutput output;
    for (const auto& [key, value] : elb.attributes(arn)) output.attributes.push_back({key, value});
    return output;
  });
}

void check_protocol(const std::optional<std::string>& protocol) {
  if (protocol.value_or("HTTP") == "HTTP") return;
  throw ApiError("UnsupportedProtocol",
                 fmt::format("Kiln's region serves listeners of protocol 'HTTP' only, not '{}'", *protocol));
}

int read_port(const std::optional<std::int64_t>& port) {
  if (!port) throw ApiError("ValidationError", "A listener port must be specified");
  return static_cast<int>(std::clamp<std::int64_t>(*port, 0, 65'536));
}

w::DescribeListenersOutput describe_listeners(Elb& elb, const w::DescribeListenersInput& input) {
  only<w::DescribeListeners>(input, {"LoadBalancerArn", "ListenerArns", "Marker", "PageSize"});
  if (input.load_balancer_arn.has_value() == !input.listener_arns.empty()) {
    throw ApiError("ValidationError", "You must specify either listener ARNs or a load balancer ARN");
  }
  std::vector<const Listener*> all;
  if (input.load_balancer_arn) {
    LoadBalancerArn arn(*input.load_balancer_arn);
    elb.load_balancer(arn);
    all = elb.listeners(arn);
  }
  for (const std::string& arn : input.listener_arns) all.push_back(&elb.listener(ListenerArn(arn)));
  auto place = [](const Listener* item) { return fmt::format("{:05}-{}", item->port, item->arn.str()); };
  std::sort(all.begin(), all.end(), [&](auto* one, auto* other) { return place(one) < place(other); });
  w::DescribeListenersOutput output;
  for (const Listener* one : page(all, input.marker, input.page_size, output.next_marker, place)) {
    output.listeners.push_back(to_wire(*one));
  }
  return output;
}

void serve_listeners(Handlers& handlers, Elb& elb) {
  handlers.on<w::CreateListener>([&elb](const Call&, const auto& input) {
    only<w::CreateListener>(input, {"LoadBalancerArn", "Protocol", "Port", "DefaultActions", "Tags"});
    LoadBalancerArn owner(input.load_balancer_arn.value_or(""));
    elb.load_balancer(owner);
    if (!input.protocol) throw ApiError("ValidationError", "A listener protocol must be specified");
    check_protocol(input.protocol);
    w::CreateListenerOutput output;
    output.listeners.push_back(to_wire(
        elb.create_listener(owner, read_port(input.port), read_actions(input.default_actions), read_tags(input.tags))));
    return output;
  });
  handlers.on<w::DescribeListeners>([&elb](const Call&, const auto& input) { return describe_listeners(elb, input); });
  handlers.on<w::ModifyListener>([&elb](const Call&, const auto& input) {
    only<w::ModifyListener>(input, {"ListenerArn", "Port", "Protocol", "DefaultActions"});
    check_protocol(input.protocol);
    std::optional<int> port;
    if (input.port) port = read_port(input.port);
    std::optional<Forward> forward;
    if (!input.default_actions.empty()) forward = read_actions(input.default_actions);
    w::ModifyListenerOutput output;
    output.listeners.push_back(
        to_wire(elb.modify_listener(ListenerArn(input.listener_arn.value_or("")), port, forward)));
    return output;
  });
  handlers.on<w::DeleteListener>([&elb](const Call&, const auto& input) {
    elb.delete_listener(ListenerArn(input.listener_arn.value_or("")));
    return w::DeleteListenerOutput{};
  });
}

void serve_tags(Handlers& handlers, Elb& elb) {
  handlers.on<w::AddTags>([&elb](const Call&, const auto& input) {
    Tags added = read_tags(input.tags);
    // All are looked up before any is changed.
    for (const std::string& arn : input.resource_arns) elb.tags_of(arn);
    for (const std::string& arn : input.resource_arns) {
      Tags merged = added;
      merged.insert(elb.tags_of(arn).begin(), elb.tags_of(arn).end());
      elb.set_tags(arn, merged);
    }
    return w::AddTagsOutput{};
  });
  handlers.on<w::RemoveTags>([&elb](const Call&, const auto& input) {
    for (const std::string& arn : input.resource_arns) elb.tags_of(arn);
    for (const std::string& arn : input.resource_arns) {
      Tags left = elb.tags_of(arn);
      for (const std::string& key : input.tag_keys) left.erase(key);
      elb.set_tags(arn, left);
    }
    return w::RemoveTagsOutput{};
  });
  handlers.on<w::DescribeTags>([&elb](const Call&, const auto& input) {
    w::DescribeTagsOutput output;
    for (const std::string& arn : input.resource_arns)
      output.tag_descriptions.push_back({arn, to_wire(elb.tags_of(arn))});
    return output;
  });
}

}  // namespace

void serve(Handlers& handlers, Elb& elb) {
  serve_load_balancers(handlers, elb);
  serve_listeners(handlers, elb);
  serve_tags(handlers, elb);
  serve_targets(handlers, elb);
}

}  // namespace kiln::region::elb
