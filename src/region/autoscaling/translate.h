// Translate: between AWS's messages and what Auto Scaling keeps.
#pragma once

#include "region/autoscaling/autoscaling.h"
#include "wire/autoscaling.h"

namespace kiln::region::autoscaling {

namespace message = wire::autoscaling;

// Throw ApiError(ValidationError) for what is not served or cannot be read.
GroupSettings settings_of(const message::CreateAutoScalingGroupType& input);
GroupSettings settings_of(const message::UpdateAutoScalingGroupType& input);
TemplateRef template_of(const message::LaunchTemplateSpecification& spec);
RefreshPreferences preferences_of(const message::RefreshPreferences& input);
Tag tag_of(const message::Tag& tag);
int number_of(std::int64_t value, const char* name);

message::AutoScalingGroup message_of(const Group& group, bool with_instances);
message::AutoScalingInstanceDetails message_of(const Group& group, const Member& member);
message::Activity message_of(const Activity& activity);
message::InstanceRefresh message_of(const Refresh& refresh);
message::TagDescription message_of(const Group& group, const Tag& tag);

}  // namespace kiln::region::autoscaling
