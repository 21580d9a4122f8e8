// Model: names of states, the table of instance types, and how launch data is laid over a template's.
#include "region/ec2/model.h"

namespace kiln::region::ec2 {

std::string_view to_string(InstanceState state) {
  switch (state) {
    case InstanceState::pending:
      return "pending";
    case InstanceState::running:
      return "running";
    case InstanceState::shutting_down:
      return "shutting-down";
    case InstanceState::terminated:
      return "terminated";
    case InstanceState::stopping:
      return "stopping";
    case InstanceState::stopped:
      return "stopped";
  }
  return "";
}

LaunchData merge(const LaunchData& base, const LaunchData& over) {
  LaunchData out = base;
  auto take = [](auto& to, const auto& from) {
    if (from) to = from;
  };
  take(out.image_id, over.image_id);
  take(out.instance_type, over.instance_type);
  take(out.key_name, over.key_name);
  take(out.user_data, over.user_data);
  take(out.shutdown_behavior, over.shutdown_behavior);
  take(out.zone, over.zone);
  take(out.ebs_optimized, over.ebs_optimized);
  take(out.monitoring, over.monitoring);
  if (!over.security_group_ids.empty() || !over.security_groups.empty()) {
    out.security_group_ids = over.security_group_ids;
    out.security_groups = over.security_groups;
  }
  for (const auto& [type, tags] : over.tags) out.tags[type] = tags;
  take(out.metadata.tokens, over.metadata.tokens);
  take(out.metadata.endpoint, over.metadata.endpoint);
  take(out.metadata.tags, over.metadata.tags);
  take(out.metadata.hop_limit, over.metadata.hop_limit);
  return out;
}

std::string text_of(const LaunchData& data) {
  std::string text;
  auto add = [&](const std::string& part) { text += std::to_string(part.size()) + ":" + part + ","; };
  for (const auto& field :
       {data.image_id, data.instance_type, data.key_name, data.user_data, data.shutdown_behavior, data.zone}) {
    add(field.value_or("-"));
  }
  for (const auto& field : {data.metadata.tokens, data.metadata.endpoint, data.metadata.tags}) add(field.value_or("-"));
  add(std::to_string(data.metadata.hop_limit.value_or(0)));
  for (const auto& flag : {data.ebs_optimized, data.monitoring}) add(flag ? (*flag ? "yes" : "no") : "-");
  for (const auto& list : {data.security_group_ids, data.security_groups}) {
    add(std::to_string(list.size()));
    for (const std::string& one : list) add(one);
  }
  for (const auto& [type, tags] : data.tags) {
    for (const auto& [key, value] : tags) {
      add(type);
      add(key);
      add(value);
    }
  }
  return text;
}

const std::vector<InstanceType>& instance_types() {
  // https://docs.aws.amazon.com/ec2/latest/instancetypes/gp.html
  static const std::vector<InstanceType> kTypes = {
      {"t2.micro", 1, 1024, "x86_64", true},   {"t2.small", 1, 2048, "x86_64", true},
      {"t2.medium", 2, 4096, "x86_64", true},  {"t3.nano", 2, 512, "x86_64", true},
      {"t3.micro", 2, 1024, "x86_64", true},   {"t3.small", 2, 2048, "x86_64", true},
      {"t3.medium", 2, 4096, "x86_64", true},  {"t3.large", 2, 8192, "x86_64", true},
      {"t3.xlarge", 4, 16384, "x86_64", true}, {"t3.2xlarge", 8, 32768, "x86_64", true},
      {"m5.large", 2, 8192, "x86_64", false},  {"m5.xlarge", 4, 16384, "x86_64", false},
      {"c5.large", 2, 4096, "x86_64", false},  {"c5.xlarge", 4, 8192, "x86_64", false},
      {"r5.large", 2, 16384, "x86_64", false},
  };
  return kTypes;
}

const InstanceType* find_instance_type(std::string_view name) {
  for (const InstanceType& type : instance_types()) {
    if (type.name == name) return &type;
  }
  return nullptr;
}

}  // namespace kiln::region::ec2
