// Record: EC2's things as the journal keeps them.
#include <fmt/format.h>

#include "region/ec2/record_json.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {
namespace {

json to_json(const InterfaceData& data) {
  return {{"subnet_id", maybe(data.subnet_id)},
          {"private_address", maybe(data.private_address)},
          {"description", maybe(data.description)},
          {"public_address", maybe(data.public_address)},
          {"security_group_ids", data.security_group_ids}};
}

InterfaceData interface_data_of(const json& from) {
  InterfaceData data;
  data.subnet_id = maybe_of<std::string>(from.at("subnet_id"));
  data.private_address = maybe_of<std::string>(from.at("private_address"));
  data.description = maybe_of<std::string>(from.at("description"));
  data.public_address = maybe_of<bool>(from.at("public_address"));
  from.at("security_group_ids").get_to(data.security_group_ids);
  return data;
}

json to_json(const MetadataWish& wish) {
  return {{"tokens", maybe(wish.tokens)},
          {"endpoint", maybe(wish.endpoint)},
          {"tags", maybe(wish.tags)},
          {"hop_limit", maybe(wish.hop_limit)}};
}

MetadataWish metadata_wish_of(const json& from) {
  MetadataWish wish;
  wish.tokens = maybe_of<std::string>(from.at("tokens"));
  wish.endpoint = maybe_of<std::string>(from.at("endpoint"));
  wish.tags = maybe_of<std::string>(from.at("tags"));
  wish.hop_limit = maybe_of<int>(from.at("hop_limit"));
  return wish;
}

json to_json(const MetadataOptions& options) {
  return {{"enabled", options.enabled},
          {"tokens_required", options.tokens_required},
          {"tags", options.tags},
          {"hop_limit", options.hop_limit}};
}

MetadataOptions metadata_options_of(const json& from) {
  MetadataOptions options;
  from.at("enabled").get_to(options.enabled);
  from.at("tokens_required").get_to(options.tokens_required);
  from.at("tags").get_to(options.tags);
  from.at("hop_limit").get_to(options.hop_limit);
  return options;
}

json to_json(const LaunchData& data) {
  json devices = json::array();
  for (const BlockDevice& device : data.devices) devices.push_back(to_json(device));
  return {{"image_id", maybe(data.image_id)},
          {"instance_type", maybe(data.instance_type)},
          {"key_name", maybe(data.key_name)},
          {"user_data", maybe(data.user_data)},
          {"shutdown_behavior", maybe(data.shutdown_behavior)},
          {"zone", maybe(data.zone)},
          {"profile", data.profile ? json{{"arn", data.profile->arn}, {"name", data.profile->name}} : json()},
          {"ebs_optimized", maybe(data.ebs_optimized)},
          {"monitoring", maybe(data.monitoring)},
          {"security_group_ids", data.security_group_ids},
          {"security_groups", data.security_groups},
          {"interface", data.interface ? to_json(*data.interface) : json()},
          {"termination_protected", maybe(data.termination_protected)},
          {"stop_protected", maybe(data.stop_protected)},
          {"tags", data.tags},
          {"devices", devices},
          {"metadata", to_json(data.metadata)}};
}

LaunchData launch_data_of(const json& from) {
  LaunchData data;
  data.image_id = maybe_of<std::string>(from.at("image_id"));
  data.instance_type = maybe_of<std::string>(from.at("instance_type"));
  data.key_name = maybe_of<std::string>(from.at("key_name"));
  data.user_data = maybe_of<std::string>(from.at("user_data"));
  data.shutdown_behavior = maybe_of<std::string>(from.at("shutdown_behavior"));
  data.zone = maybe_of<std::string>(from.at("zone"));
  if (auto it = from.find("profile"); it != from.end() && !it->is_null()) {
    data.profile = ProfileSpec{it->at("arn").get<std::string>(), it->at("name").get<std::string>()};
  }
  data.ebs_optimized = maybe_of<bool>(from.at("ebs_optimized"));
  data.monitoring = maybe_of<bool>(from.at("monitoring"));
  from.at("security_group_ids").get_to(data.security_group_ids);
  from.at("security_groups").get_to(data.security_groups);
  if (from.contains("interface") && !from.at("interface").is_null()) {
    data.interface = interface_data_of(from.at("interface"));
  }
  data.termination_protected = maybe_of<bool>(from.value("termination_protected", json()));
  data.stop_protected = maybe_of<bool>(from.value("stop_protected", json()));
  from.at("tags").get_to(data.tags);
  // A record of before they were kept has none.
  for (const json& device : from.value("devices", json::array())) data.devices.push_back(block_device_of(device));
  if (from.contains("metadata")) data.metadata = metadata_wish_of(from.at("metadata"));
  return data;
}

json to_json(const std::optional<ProfileAssociation>& profile) {
  if (!profile) return json();
  return {{"id", profile->id},
          {"arn", profile->arn},
          {"profile_id", profile->profile_id},
          {"since", number(profile->since)}};
}

std::optional<ProfileAssociation> profile_of(const json& from) {
  if (from.is_null()) return std::nullopt;
  return ProfileAssociation{from.at("id").get<std::string>(), from.at("arn").get<std::string>(),
                            from.at("profile_id").get<std::string>(), time_of(from.at("since"))};
}

}  // namespace

std::string write_record(const Instance& value) {
  return json{{"id", value.id},
              {"vpc_id", value.vpc_id},
              {"wants_public", value.wants_public},
              {"interface_description", value.interface_description},
              {"interface_tags", value.interface_tags},
              {"termination_protected", value.termination_protected},
              {"stop_protected", value.stop_protected},
              {"ebs_optimized", value.ebs_optimized},
              {"reservation_id", value.reservation_id},
              {"launch_index", value.launch_index},
              {"image_id", value.image_id},
              {"image", text_of(value.image)},
              {"type", value.type},
              {"key_name", value.key_name},
              {"public_key", value.public_key},
              {"subnet_id", value.subnet_id},
              {"zone", value.zone},
              {"private_address", value.private_address},
              {"mac", value.mac},
              {"public_address", value.public_address},
              {"security_groups", value.security_groups},
              {"user_data", value.user_data},
              {"metadata", to_json(value.metadata)},
              {"shutdown_behavior", value.shutdown_behavior},
              {"profile", to_json(value.profile)},
              {"client_token", value.client_token},
              {"token_digest", text_of(value.token_digest)},
              {"tags", value.tags},
              {"interface_id", value.interface_id},
              {"volume_id", value.volume_id},
              {"launched", number(value.launched)},
              {"state", static_cast<int>(value.state)},
              {"reason_code", value.reason_code},
              {"reason_message", value.reason_message},
              {"transition_reason", value.transition_reason},
              {"ended", value.ended ? number(*value.ended) : json()},
              {"has_disk", value.has_disk},
              {"reboot", value.reboot},
              {"powered_down", value.powered_down}}
      .dump();
}

Instance read_instance(const std::string& text) {
  return read("an instance", text, [](const json& from) {
    Instance value;
    from.at("id").get_to(value.id);
    // A record of before there was more than the default VPC has none of these, and each instance had an address.
    value.vpc_id = from.value("vpc_id", "");
    value.wants_public = from.value("wants_public", true);
    value.interface_description = from.value("interface_description", "");
    value.interface_tags = from.value("interface_tags", Tags());
    value.termination_protected = from.value("termination_protected", false);
    value.stop_protected = from.value("stop_protected", false);
    value.ebs_optimized = from.value("ebs_optimized", false);
    from.at("reservation_id").get_to(value.reservation_id);
    from.at("launch_index").get_to(value.launch_index);
    from.at("image_id").get_to(value.image_id);
    value.image = digest_of(from.at("image"));
    from.at("type").get_to(value.type);
    from.at("key_name").get_to(value.key_name);
    value.public_key = from.value("public_key", "");
    from.at("subnet_id").get_to(value.subnet_id);
    from.at("zone").get_to(value.zone);
    from.at("private_address").get_to(value.private_address);
    from.at("mac").get_to(value.mac);
    from.at("public_address").get_to(value.public_address);
    from.at("security_groups").get_to(value.security_groups);
    from.at("user_data").get_to(value.user_data);
    if (from.contains("metadata")) value.metadata = metadata_options_of(from.at("metadata"));
    from.at("shutdown_behavior").get_to(value.shutdown_behavior);
    if (auto it = from.find("profile"); it != from.end()) value.profile = profile_of(*it);
    from.at("client_token").get_to(value.client_token);
    value.token_digest = digest_of(from.at("token_digest"));
    from.at("tags").get_to(value.tags);
    from.at("interface_id").get_to(value.interface_id);
    from.at("volume_id").get_to(value.volume_id);
    value.launched = time_of(from.at("launched"));
    value.state = static_cast<InstanceState>(from.at("state").get<int>());
    from.at("reason_code").get_to(value.reason_code);
    from.at("reason_message").get_to(value.reason_message);
    from.at("transition_reason").get_to(value.transition_reason);
    if (!from.at("ended").is_null()) value.ended = time_of(from.at("ended"));
    from.at("has_disk").get_to(value.has_disk);
    value.reboot = from.value("reboot", false);  // a record of before it was kept has none
    value.powered_down = from.value("powered_down", false);
    return value;
  });
}

std::string write_record(const LaunchTemplate& value) {
  json versions = json::array();
  for (const auto& [version_number, version] : value.versions) {
    versions.push_back({{"number", version.number},
                        {"description", version.description},
                        {"created", number(version.created)},
                        {"data", to_json(version.data)}});
  }
  return json{{"id", value.id},
              {"name", value.name},
              {"created", number(value.created)},
              {"default_version", value.default_version},
              {"latest_version", value.latest_version},
              {"tags", value.tags},
              {"versions", versions}}
      .dump();
}

LaunchTemplate read_launch_template(const std::string& text) {
  return read("a launch template", text, [](const json& from) {
    LaunchTemplate value;
    from.at("id").get_to(value.id);
    from.at("name").get_to(value.name);
    value.created = time_of(from.at("created"));
    from.at("default_version").get_to(value.default_version);
    from.at("latest_version").get_to(value.latest_version);
    from.at("tags").get_to(value.tags);
    for (const json& one : from.at("versions")) {
      TemplateVersion version;
      one.at("number").get_to(version.number);
      one.at("description").get_to(version.description);
      version.created = time_of(one.at("created"));
      version.data = launch_data_of(one.at("data"));
      value.versions[version.number] = version;
    }
    return value;
  });
}

std::string write_record(const SecurityGroup& value) {
  json rules = json::array();
  for (const Rule& rule : value.rules) {
    rules.push_back({{"id", rule.id},
                     {"egress", rule.egress},
                     {"protocol", rule.protocol},
                     {"from_port", rule.from_port},
                     {"to_port", rule.to_port},
                     {"cidr", rule.cidr},
                     {"group_id", rule.group_id},
                     {"description", rule.description}});
  }
  return json{{"id", value.id},         {"name", value.name}, {"description", value.description},
              {"vpc_id", value.vpc_id}, {"tags", value.tags}, {"rules", rules}}
      .dump();
}

SecurityGroup read_security_group(const std::string& text) {
  return read("a security group", text, [](const json& from) {
    SecurityGroup value;
    from.at("id").get_to(value.id);
    from.at("name").get_to(value.name);
    from.at("description").get_to(value.description);
    from.at("vpc_id").get_to(value.vpc_id);
    from.at("tags").get_to(value.tags);
    for (const json& one : from.at("rules")) {
      Rule rule;
      one.at("id").get_to(rule.id);
      one.at("egress").get_to(rule.egress);
      one.at("protocol").get_to(rule.protocol);
      one.at("from_port").get_to(rule.from_port);
      one.at("to_port").get_to(rule.to_port);
      one.at("cidr").get_to(rule.cidr);
      one.at("group_id").get_to(rule.group_id);
      one.at("description").get_to(rule.description);
      value.rules.push_back(rule);
    }
    return value;
  });
}

std::string write_record(const KeyPair& value) {
  return json{{"id", value.id},
              {"name", value.name},
              {"type", value.type},
              {"fingerprint", value.fingerprint},
              {"public_key", value.public_key},
              {"created", number(value.created)},
              {"tags", value.tags}}
      .dump();
}

KeyPair read_key_pair(const std::string& text) {
  return read("a key pair", text, [](const json& from) {
    KeyPair value;
    from.at("id").get_to(value.id);
    from.at("name").get_to(value.name);
    from.at("type").get_to(value.type);
    from.at("fingerprint").get_to(value.fingerprint);
    from.at("public_key").get_to(value.public_key);
    value.created = time_of(from.at("created"));
    from.at("tags").get_to(value.tags);
    return value;
  });
}

std::string write_record(const Vpc& value) {
  return json{{"id", value.id},
              {"cidr", value.cidr},
              {"is_default", value.is_default},
              {"dns_support", value.dns_support},
              {"dns_hostnames", value.dns_hostnames},
              {"tags", value.tags}}
      .dump();
}

Vpc read_vpc(const std::string& text) {
  return read("a VPC", text, [](const json& from) {
    Vpc value;
    from.at("id").get_to(value.id);
    from.at("cidr").get_to(value.cidr);
    from.at("is_default").get_to(value.is_default);
    from.at("dns_support").get_to(value.dns_support);
    from.at("dns_hostnames").get_to(value.dns_hostnames);
    from.at("tags").get_to(value.tags);
    return value;
  });
}

std::string write_record(const Subnet& value) {
  return json{{"id", value.id},
              {"vpc_id", value.vpc_id},
              {"zone", value.zone},
              {"zone_id", value.zone_id},
              {"cidr", value.cidr},
              {"gateway", value.gateway},
              {"prefix", value.prefix},
              {"is_default", value.is_default},
              {"map_public", value.map_public},
              {"tags", value.tags}}
      .dump();
}

Subnet read_subnet(const std::string& text) {
  return read("a subnet", text, [](const json& from) {
    Subnet value;
    from.at("id").get_to(value.id);
    from.at("vpc_id").get_to(value.vpc_id);
    from.at("zone").get_to(value.zone);
    from.at("zone_id").get_to(value.zone_id);
    from.at("cidr").get_to(value.cidr);
    from.at("gateway").get_to(value.gateway);
    from.at("prefix").get_to(value.prefix);
    from.at("is_default").get_to(value.is_default);
    from.at("map_public").get_to(value.map_public);
    from.at("tags").get_to(value.tags);
    return value;
  });
}

std::string write_record(const RouteTable& value) {
  json associations = json::array();
  for (const auto& one : value.associations) associations.push_back({{"id", one.id}, {"subnet_id", one.subnet_id}});
  return json{{"id", value.id},           {"vpc_id", value.vpc_id},       {"client_token", value.client_token},
              {"way_out", value.way_out}, {"associations", associations}, {"tags", value.tags}}
      .dump();
}

RouteTable read_route_table(const std::string& text) {
  return read("a route table", text, [](const json& from) {
    RouteTable value;
    from.at("id").get_to(value.id);
    from.at("vpc_id").get_to(value.vpc_id);
    from.at("client_token").get_to(value.client_token);
    from.at("way_out").get_to(value.way_out);
    for (const json& one : from.at("associations")) {
      value.associations.push_back({one.at("id").get<std::string>(), one.at("subnet_id").get<std::string>()});
    }
    from.at("tags").get_to(value.tags);
    return value;
  });
}

std::string write_record(const InternetGateway& value) {
  return json{{"id", value.id}, {"vpc_id", value.vpc_id}, {"tags", value.tags}}.dump();
}

InternetGateway read_internet_gateway(const std::string& text) {
  return read("an internet gateway", text, [](const json& from) {
    InternetGateway value;
    from.at("id").get_to(value.id);
    from.at("vpc_id").get_to(value.vpc_id);
    from.at("tags").get_to(value.tags);
    return value;
  });
}

std::string write_record(const Address& value) {
  return json{{"id", value.id},
              {"public_address", value.public_address},
              {"instance_id", value.instance_id},
              {"association_id", value.association_id},
              {"tags", value.tags}}
      .dump();
}

Address read_address(const std::string& text) {
  return read("an Elastic IP address", text, [](const json& from) {
    Address value;
    from.at("id").get_to(value.id);
    from.at("public_address").get_to(value.public_address);
    from.at("instance_id").get_to(value.instance_id);
    from.at("association_id").get_to(value.association_id);
    from.at("tags").get_to(value.tags);
    return value;
  });
}

}  // namespace kiln::region::ec2
