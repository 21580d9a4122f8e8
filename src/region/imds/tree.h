// Tree: all that an instance can read of itself, as paths and texts. Pure.
//
// The categories are those of https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-metadata.html; every
// version that the service lists has the same ones.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "region/ec2/ec2.h"
#include "region/iam/iam.h"

namespace kiln::region::imds {

// "meta-data/ami-id" → "ami-0abc": leaves only, below a version's folder. What an instance does not have (a key, a
// public address, tags that it may not read) is not in it. `role`: the credentials of its profile's role.
using Tree = std::map<std::string, std::string>;
Tree tree_of(const ec2::Ec2& ec2, const ec2::Instance& instance, const std::optional<iam::RoleCredentials>& role);

// The text at a path (no slash at either end), or the list of what is below it, one name a line, folders with a slash;
// nullopt when there is neither. "public-keys" lists "0=<name of the key pair>".
std::optional<std::string> read(const Tree& tree, const std::string& path);

// What "/" lists: the dates of EC2's versions, and "latest".
const std::vector<std::string>& versions();

}  // namespace kiln::region::imds
