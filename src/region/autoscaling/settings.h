// Settings: what a caller asks of a group, checked by AWS's rules and merged into it.
#pragma once

#include <string>
#include <vector>

#include "region/autoscaling/autoscaling.h"

namespace kiln::region::autoscaling {

// Merges `settings` into `group`; throws ApiError(ValidationError) and leaves `group` as it was.
void merge_settings(Group& group, const GroupSettings& settings, const Instances& instances);
// The template by id or name as EC2 knows it, with the version as it was asked for.
TemplateRef exact_template(const TemplateRef& ref, const Instances& instances);
void check_tag(const Tag& tag);
// Throws ApiError(ValidationError) unless AWS would start a refresh of the group so.
void check_refresh(const Group& group, const std::optional<TemplateRef>& desired, const RefreshPreferences& preferences,
                   const Instances& instances);
// Why the group's configuration is none that a refresh can go back to; empty when it is.
std::string irreversible(const Group& group, bool has_desired, const Instances& instances);

}  // namespace kiln::region::autoscaling
