// Record: see record.h.
#include "region/ssm/record.h"

#include <fmt/format.h>

#include "base/encoding.h"
#include "region/record_json.h"

namespace kiln::region::ssm {
namespace {

json to_json(const Rate& rate) { return {{"value", rate.value}, {"percent", rate.percent}, {"text", rate.text}}; }
Rate rate_of(const json& from) { return {from.at("value"), from.at("percent"), from.at("text")}; }

}  // namespace

std::string write_record(const Command& value) {
  json targets = json::array();
  for (const Target& target : value.targets) targets.push_back({{"key", target.key}, {"values", target.values}});
  return json{{"id", value.id},
              {"document", value.document},
              {"document_version", value.document_version},
              {"comment", value.comment},
              {"parameters", value.parameters},
              {"instance_ids", value.instance_ids},
              {"targets", targets},
              {"max_concurrency", to_json(value.max_concurrency)},
              {"max_errors", to_json(value.max_errors)},
              {"timeout_s", value.timeout_s},
              {"execution_s", value.execution_s},
              {"requested", number(value.requested)},
              {"cancelled", value.cancelled}}
      .dump();
}

Command read_command(const std::string& text) {
  return read("a command", text, [](const json& from) {
    Command value;
    from.at("id").get_to(value.id);
    from.at("document").get_to(value.document);
    from.at("document_version").get_to(value.document_version);
    from.at("comment").get_to(value.comment);
    from.at("parameters").get_to(value.parameters);
    from.at("instance_ids").get_to(value.instance_ids);
    for (const json& target : from.at("targets")) value.targets.push_back({target.at("key"), target.at("values")});
    value.max_concurrency = rate_of(from.at("max_concurrency"));
    value.max_errors = rate_of(from.at("max_errors"));
    from.at("timeout_s").get_to(value.timeout_s);
    from.at("execution_s").get_to(value.execution_s);
    value.requested = time_of(from.at("requested"));
    from.at("cancelled").get_to(value.cancelled);
    return value;
  });
}

std::string write_record(const Invocation& value, std::size_t turn) {
  return json{{"instance_id", value.instance_id},
              {"instance_name", value.instance_name},
              {"status", details_of(value.status)},
              {"response_code", value.response_code},
              {"out", value.out},
              {"err", value.err},
              {"started", number(value.started)},
              {"ended", number(value.ended)},
              {"turn", turn}}
      .dump();
}

InvocationRecord read_invocation(const std::string& text) {
  return read("an invocation", text, [](const json& from) {
    InvocationRecord record;
    Invocation& value = record.invocation;
    from.at("instance_id").get_to(value.instance_id);
    from.at("instance_name").get_to(value.instance_name);
    const std::string status = from.at("status");
    while (details_of(value.status) != status) {
      if (value.status == InvocationStatus::terminated) {
        throw Error(ErrorCode::corrupt, fmt::format("an invocation has the unknown status \"{}\"", status));
      }
      value.status = static_cast<InvocationStatus>(static_cast<int>(value.status) + 1);
    }
    from.at("response_code").get_to(value.response_code);
    from.at("out").get_to(value.out);
    from.at("err").get_to(value.err);
    value.started = maybe_time_of(from.at("started"));
    value.ended = maybe_time_of(from.at("ended"));
    from.at("turn").get_to(record.turn);
    return record;
  });
}

std::string write_record(const Node& value) {
  return json{{"instance_id", value.instance_id},
              {"platform_name", value.platform_name},
              {"platform_version", value.platform_version},
              {"computer_name", value.computer_name},
              {"address", value.address},
              {"registered", number(value.registered)},
              {"last_ping", number(value.last_ping)}}
      .dump();
}

Node read_node(const std::string& text) {
  return read("a managed node", text, [](const json& from) {
    Node value;
    from.at("instance_id").get_to(value.instance_id);
    from.at("platform_name").get_to(value.platform_name);
    from.at("platform_version").get_to(value.platform_version);
    from.at("computer_name").get_to(value.computer_name);
    from.at("address").get_to(value.address);
    value.registered = time_of(from.at("registered"));
    value.last_ping = time_of(from.at("last_ping"));
    return value;
  });
}

std::string write_record(const Parameter& value) {
  // Sealed values are no text.
  const bool sealed = value.type == "SecureString";
  json versions = json::array();
  for (const auto& [number_of, version] : value.versions) {
    versions.push_back({{"number", number_of},
                        {"value", sealed ? base64_encode(version.value) : version.value},
                        {"description", version.description},
                        {"allowed_pattern", version.allowed_pattern},
                        {"tier", version.tier},
                        {"data_type", version.data_type},
                        {"modified", number(version.modified)},
                        {"modified_by", version.modified_by},
                        {"labels", version.labels}});
  }
  return json{{"name", value.name},
              {"type", value.type},
              {"key_id", value.key_id},
              {"tags", value.tags},
              {"versions", versions}}
      .dump();
}

Parameter read_parameter(const std::string& text) {
  return read("a parameter", text, [](const json& from) {
    Parameter value;
    from.at("name").get_to(value.name);
    from.at("type").get_to(value.type);
    from.at("key_id").get_to(value.key_id);
    from.at("tags").get_to(value.tags);
    for (const json& each : from.at("versions")) {
      ParameterVersion version;
      each.at("number").get_to(version.number);
      each.at("value").get_to(version.value);
      if (value.type == "SecureString") version.value = base64_decode(version.value);
      each.at("description").get_to(version.description);
      each.at("allowed_pattern").get_to(version.allowed_pattern);
      each.at("tier").get_to(version.tier);
      each.at("data_type").get_to(version.data_type);
      version.modified = time_of(each.at("modified"));
      each.at("modified_by").get_to(version.modified_by);
      each.at("labels").get_to(version.labels);
      value.versions[version.number] = std::move(version);
    }
    if (value.versions.empty()) {
      throw Error(ErrorCode::corrupt, fmt::format("the parameter {} has no version", value.name));
    }
    return value;
  });
}

}  // namespace kiln::region::ssm
