// Handlers of EC2: attributes of instances, one at a time.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "region/ec2/filters.h"
#include "region/ec2/handlers.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {
namespace {

namespace w = wire::ec2;

[[noreturn]] void unsupported(const std::string& what) {
  throw ApiError("UnsupportedOperation", what + " is not supported by this region");
}

w::InstanceAttribute attribute_of(const Ec2& ec2, const Instance& one, const std::string& attribute) {
  w::InstanceAttribute answer;
  answer.instance_id = one.id;
  if (attribute == "instanceType") {
    answer.instance_type.emplace().value = one.type;
  } else if (attribute == "userData") {
    answer.user_data.emplace();
    if (!one.user_data.empty()) answer.user_data->value = one.user_data;
  } else if (attribute == "instanceInitiatedShutdownBehavior") {
    answer.instance_initiated_shutdown_behavior.emplace().value = one.shutdown_behavior;
  } else if (attribute == "rootDeviceName") {
    answer.root_device_name.emplace().value = "/dev/xvda";
  } else if (attribute == "disableApiTermination") {
    answer.disable_api_termination.emplace().value = one.termination_protected;
  } else if (attribute == "disableApiStop") {
    answer.disable_api_stop.emplace().value = one.stop_protected;
  } else if (attribute == "groupSet") {
    answer.groups = groups_of(ec2, one);
  } else if (attribute == "sourceDestCheck") {
    answer.source_dest_check.emplace().value = true;
  } else if (attribute == "ebsOptimized") {
    answer.ebs_optimized.emplace().value = one.ebs_optimized;
  } else if (attribute == "enaSupport") {
    answer.ena_support.emplace().value = true;
  } else if (attribute == "sriovNetSupport") {
    answer.sriov_net_support.emplace().value = "simple";
  } else if (attribute == "blockDeviceMapping") {
    answer.root_device_name.emplace().value = "/dev/xvda";
    answer.block_device_mappings = block_devices_of(one);
  } else if (attribute == "productCodes") {
    // None.
  } else if (attribute == "kernel" || attribute == "ramdisk" || attribute == "enclaveOptions") {
    unsupported("The attribute " + attribute);
  } else {
    throw ApiError("InvalidParameterValue",
                   fmt::format("Value ({}) for parameter attribute is invalid. Unknown attribute.", attribute));
  }
  return answer;
}

bool flag_of(const std::string& text) {
  const std::string lower = to_lower(text);
  if (lower == "true" || lower == "false") return lower == "true";
  throw ApiError("InvalidParameterValue", fmt::format("Value ({}) for parameter value is invalid.", text));
}

// The older form of the call: a name and a value.
void name_and_value(w::ModifyInstanceAttributeRequest& input) {
  const std::string name = *input.attribute;
  const std::string value = input.value.value_or("");
  if (name == "instanceType") {
    input.instance_type.emplace().value = value;
  } else if (name == "userData") {
    input.user_data.emplace().value = value;
  } else if (name == "instanceInitiatedShutdownBehavior") {
    input.instance_initiated_shutdown_behavior.emplace().value = value;
  } else if (name == "disableApiTermination") {
    input.disable_api_termination.emplace().value = flag_of(value);
  } else if (name == "disableApiStop") {
    input.disable_api_stop.emplace().value = flag_of(value);
  } else if (name == "sourceDestCheck") {
    input.source_dest_check.emplace().value = flag_of(value);
  } else if (name == "ebsOptimized") {
    input.ebs_optimized.emplace().value = flag_of(value);
  } else if (name == "enaSupport") {
    input.ena_support.emplace().value = flag_of(value);
  } else if (name == "sriovNetSupport") {
    input.sriov_net_support.emplace().value = value;
  } else {
    unsupported("The attribute " + name);
  }
}

void modify(Ec2& ec2, w::ModifyInstanceAttributeRequest input) {
  only<w::ModifyInstanceAttribute>(
      input, {"InstanceId", "Attribute", "Value", "InstanceType", "UserData", "InstanceInitiatedShutdownBehavior",
              "DisableApiTermination", "DisableApiStop", "SourceDestCheck", "EbsOptimized", "EnaSupport",
              "SriovNetSupport", "Groups"});
  const Instance& one = ec2.instance(input.instance_id.value_or(""));
  if (present(input.attribute)) name_and_value(input);
  if (input.source_dest_check && !input.source_dest_check->value.value_or(true)) {
    unsupported("An instance that sends with the addresses of others (SourceDestCheck false)");
  }
  if (input.ena_support && !input.ena_support->value.value_or(true)) unsupported("An instance without ENA");
  if (input.sriov_net_support && input.sriov_net_support->value != "simple") {
    throw ApiError("InvalidParameterValue", "The only value of sriovNetSupport is 'simple'");
  }
  if ((input.ena_support || input.sriov_net_support || input.ebs_optimized) && one.state != InstanceState::stopped) {
    throw ApiError("IncorrectInstanceState", fmt::format("The instance '{}' is not in the 'stopped' state.", one.id));
  }
  Ec2::InstanceChanges changes;
  if (input.instance_type) changes.type = input.instance_type->value.value_or("");
  if (input.user_data) changes.user_data = input.user_data->value.value_or("");
  if (input.instance_initiated_shutdown_behavior) {
    changes.shutdown_behavior = input.instance_initiated_shutdown_behavior->value.value_or("");
    if (*changes.shutdown_behavior != "stop" && *changes.shutdown_behavior != "terminate") {
      throw ApiError("InvalidParameterValue",
                     fmt::format("Value ({}) for parameter instanceInitiatedShutdownBehavior is invalid.",
                                 *changes.shutdown_behavior));
    }
  }
  if (input.disable_api_termination) changes.termination_protected = input.disable_api_termination->value;
  if (input.disable_api_stop) changes.stop_protected = input.disable_api_stop->value;
  if (input.ebs_optimized) changes.ebs_optimized = input.ebs_optimized->value;
  changes.security_groups = input.groups;
  ec2.modify_instance(one.id, changes);
}

}  // namespace

void serve_attributes(Handlers& handlers, Ec2& ec2) {
  handlers.on<w::DescribeInstanceAttribute>([&ec2](const Call&, const w::DescribeInstanceAttributeRequest& input) {
    only<w::DescribeInstanceAttribute>(input, {"InstanceId", "Attribute"});
    return attribute_of(ec2, ec2.instance(input.instance_id.value_or("")), input.attribute.value_or(""));
  });
  handlers.on<w::ModifyInstanceAttribute>([&ec2](const Call&, const w::ModifyInstanceAttributeRequest& input) {
    modify(ec2, input);
    return wire::Empty{};
  });
}

}  // namespace kiln::region::ec2
