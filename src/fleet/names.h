// Names: what the AWS things of one app in one environment are called, and the tags that say whose they are.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace kiln::fleet {

inline constexpr std::string_view kTagApp = "kiln:app";
inline constexpr std::string_view kTagEnvironment = "kiln:environment";
inline constexpr std::string_view kTagVersion = "kiln:version";
inline constexpr std::string_view kTagDigest = "kiln:digest";
inline constexpr std::string_view kTagSize = "kiln:size";  // of the group: fleet.size when it was last made so

// All are "kiln-web-staging" ("kiln-web" in the environment `local` and in none), with "-balancer" for the security
// group of the load balancer. Characters that AWS does not take become '-'; a name beyond ELB's 32 characters is cut
// and ends in 6 hex digits of its digest. Two apps can come to the same name ("web-x" and "web" in "x"): the tags tell
// them apart, and the planner refuses.
struct Names {
  std::string app;
  std::string environment;
  std::string group;  // Auto Scaling group
  std::string launch_template;
  std::string target_group;
  std::string load_balancer;
  std::string instance_security_group;
  std::string balancer_security_group;

  // kiln:app and kiln:environment, which every one of them carries.
  std::map<std::string, std::string> tags() const;
  // "web → staging", for people; "web" when there is no environment.
  std::string title() const;
};

Names names_of(std::string_view app, std::string_view environment);

}  // namespace kiln::fleet
