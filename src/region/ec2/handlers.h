// Handlers of EC2: from a decoded request to Ec2 and back into the shape of its answer.
#pragma once

#include "region/ec2/ec2.h"
#include "region/handlers.h"
#include "wire/ec2.h"

namespace kiln::region::ec2 {

// Registers all of them. `ec2` must outlive `handlers`.
void serve(Handlers& handlers, Ec2& ec2);

void serve_instances(Handlers& handlers, Ec2& ec2);
void serve_images(Handlers& handlers, Ec2& ec2);
void serve_launch_templates(Handlers& handlers, Ec2& ec2);
void serve_security_groups(Handlers& handlers, Ec2& ec2);
void serve_network(Handlers& handlers, Ec2& ec2);
void serve_metadata_options(Handlers& handlers, Ec2& ec2);
void serve_tags_and_keys(Handlers& handlers, Ec2& ec2);

// What they share.
std::vector<wire::ec2::Tag> to_wire(const Tags& tags);
// The tags for one type of resource; ApiError InvalidParameterValue when another type is named.
Tags tags_for(const std::vector<wire::ec2::TagSpecification>& specifications, std::string_view type);
Tags from_wire(const std::vector<wire::ec2::Tag>& tags);

}  // namespace kiln::region::ec2
