// Record: how ELBv2's things are written into the journal, as JSON, and read back.
#include "region/elb/record.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace kiln::region::elb {

namespace {

using Json = nlohmann::json;

template <typename Read>
auto read_json(const std::string& text, Read read) {
  try {
    return read(Json::parse(text));
  } catch (const Json::exception& error) {
    throw Error(ErrorCode::corrupt,
                fmt::format("the journal's entry {} is not readable: {}", text.substr(0, 200), error.what()),
                "Begin again with `kiln region reset`.");
  }
}

std::string write_time(Time time) { return format_iso8601(time); }
Time read_time(const Json& json) { return parse_iso8601(json.get<std::string>()); }

TargetState read_state(const std::string& text) {
  for (TargetState state : {TargetState::healthy, TargetState::unhealthy}) {
    if (text == to_string(state)) return state;
  }
  return TargetState::initial;
}

Json write_check(const HealthCheck& check) {
  return {{"port", check.port},
          {"path", check.path},
          {"interval", check.interval_seconds},
          {"timeout", check.timeout_seconds},
          {"healthy", check.healthy_threshold},
          {"unhealthy", check.unhealthy_threshold},
          {"matcher", check.matcher.text}};
}

HealthCheck read_check(const Json& json) {
  HealthCheck check;
  check.port = json.at("port");
  check.path = json.at("path");
  check.interval_seconds = json.at("interval");
  check.timeout_seconds = json.at("timeout");
  check.healthy_threshold = json.at("healthy");
  check.unhealthy_threshold = json.at("unhealthy");
  check.matcher.text = json.at("matcher");
  return check;
}

Json write_attributes(const TargetGroupAttributes& attributes) {
  return {{"deregistration_delay", attributes.deregistration_delay_seconds},
          {"slow_start", attributes.slow_start_seconds},
          {"sticky", attributes.sticky},
          {"sticky_seconds", attributes.sticky_seconds},
          {"algorithm", attributes.algorithm}};
}

TargetGroupAttributes read_attributes(const Json& json) {
  TargetGroupAttributes attributes;
  attributes.deregistration_delay_seconds = json.at("deregistration_delay");
  attributes.slow_start_seconds = json.at("slow_start");
  attributes.sticky = json.at("sticky");
  attributes.sticky_seconds = json.at("sticky_seconds");
  attributes.algorithm = json.at("algorithm");
  return attributes;
}

}  // namespace

std::string write_record(const LoadBalancer& value) {
  Json zones = Json::array();
  for (const Zone& zone : value.zones) zones.push_back({{"name", zone.name}, {"subnet", zone.subnet_id}});
  return Json{{"arn", value.arn.str()},   {"name", value.name},
              {"scheme", value.scheme},   {"vpc", value.vpc_id},
              {"zones", zones},           {"security_groups", value.security_groups},
              {"address", value.address}, {"created", write_time(value.created)},
              {"tags", value.tags},       {"attributes", value.attributes}}
      .dump();
}

LoadBalancer read_load_balancer(const std::string& text) {
  return read_json(text, [](const Json& json) {
    LoadBalancer value;
    value.arn = LoadBalancerArn(json.at("arn").get<std::string>());
    value.name = json.at("name");
    value.scheme = json.at("scheme");
    value.vpc_id = json.at("vpc");
    for (const Json& zone : json.at("zones")) value.zones.push_back({zone.at("name"), zone.at("subnet")});
    value.security_groups = json.at("security_groups").get<std::vector<std::string>>();
    value.address = json.at("address");
    value.created = read_time(json.at("created"));
    value.tags = json.at("tags").get<Tags>();
    value.attributes = json.at("attributes").get<std::map<std::string, std::string>>();
    return value;
  });
}

std::string write_record(const TargetGroup& value) {
  return Json{{"arn", value.arn.str()},
              {"name", value.name},
              {"vpc", value.vpc_id},
              {"port", value.port},
              {"check", write_check(value.check)},
              {"attributes", write_attributes(value.attributes)},
              {"created", write_time(value.created)},
              {"tags", value.tags}}
      .dump();
}

TargetGroup read_target_group(const std::string& text) {
  return read_json(text, [](const Json& json) {
    TargetGroup value;
    value.arn = TargetGroupArn(json.at("arn").get<std::string>());
    value.name = json.at("name");
    value.vpc_id = json.at("vpc");
    value.port = json.at("port");
    value.check = read_check(json.at("check"));
    value.attributes = read_attributes(json.at("attributes"));
    value.created = read_time(json.at("created"));
    value.tags = json.at("tags").get<Tags>();
    return value;
  });
}

std::string write_record(const Listener& value) {
  Json groups = Json::array();
  for (const WeightedGroup& one : value.forward.groups)
    groups.push_back({{"group", one.group.str()}, {"weight", one.weight}});
  return Json{{"arn", value.arn.str()},
              {"load_balancer", value.load_balancer.str()},
              {"port", value.port},
              {"groups", groups},
              {"sticky", value.forward.sticky},
              {"sticky_seconds", value.forward.sticky_seconds},
              {"tags", value.tags}}
      .dump();
}

Listener read_listener(const std::string& text) {
  return read_json(text, [](const Json& json) {
    Listener value;
    value.arn = ListenerArn(json.at("arn").get<std::string>());
    value.load_balancer = LoadBalancerArn(json.at("load_balancer").get<std::string>());
    value.port = json.at("port");
    for (const Json& one : json.at("groups")) {
      value.forward.groups.push_back({TargetGroupArn(one.at("group").get<std::string>()), one.at("weight")});
    }
    value.forward.sticky = json.at("sticky");
    value.forward.sticky_seconds = json.at("sticky_seconds");
    value.tags = json.at("tags").get<Tags>();
    return value;
  });
}

std::string write_record(const TargetRecord& value) {
  Json json{{"group", value.group.str()},
            {"id", value.key.id},
            {"port", value.key.port},
            {"checking", value.checking},
            {"state", to_string(value.progress.state)},
            {"reason", value.progress.reason},
            {"description", value.progress.description},
            {"began", write_time(value.progress.began)},
            {"draining", value.draining}};
  if (value.drain_until) json["drain_until"] = write_time(*value.drain_until);
  return json.dump();
}

TargetRecord read_target(const std::string& text) {
  return read_json(text, [](const Json& json) {
    TargetRecord value;
    value.group = TargetGroupArn(json.at("group").get<std::string>());
    value.key = {json.at("id"), json.at("port")};
    value.checking = json.at("checking");
    value.progress.state = read_state(json.at("state"));
    value.progress.reason = json.at("reason");
    value.progress.description = json.at("description");
    value.progress.began = read_time(json.at("began"));
    value.progress.counted = value.progress.began;
    value.draining = json.at("draining");
    if (json.contains("drain_until")) value.drain_until = read_time(json.at("drain_until"));
    return value;
  });
}

std::string target_record_key(const TargetGroupArn& group, const TargetKey& key) {
  return fmt::format("{} {}:{}", group.str(), key.id, key.port);
}

}  // namespace kiln::region::elb
