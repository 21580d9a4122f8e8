// Usage: who uses which AMI in one account and region: one look, whatever app it belongs to.
//
// About 5 calls and their pages, and one for each launch template. Things of other owners are not looked at, and
// nothing is changed. Failures climb as the client's Errors.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "fleet/fleet.h"

namespace kiln::aws {
class Client;
}

namespace kiln::fleet {

struct OwnImage {
  std::string ami;
  std::string name;
  std::string state;     // "available", "disabled", "pending", ..
  std::string location;  // ImageLocation
  std::string description;
  std::string architecture;
  std::string source_instance;  // for one that CreateImage made
  Tags tags;
  Time created{};
  std::optional<Time> deprecated;
  bool is_protected = false;  // against deregistration
  std::vector<std::string> snapshots;
  std::int64_t volume_gib = 0;  // of its snapshots: what they hold at most

  std::string tag(std::string_view key) const;
};

struct UsingInstance {
  std::string id;
  std::string ami;
  std::string state;
  std::string group;  // Auto Scaling's; empty: launched by hand
  std::string app;    // kiln:app
  std::string template_id;
  std::int64_t template_version = 0;
  Time launched{};
  bool ended() const { return state == "terminated" || state == "shutting-down"; }
};

struct UsingTemplate {
  std::string id;
  std::string name;
  std::string app;
  std::int64_t version = 0;
  std::string ami;
  bool is_default = false;
  bool is_latest = false;
  Time created{};
};

struct UsingGroup {
  std::string name;
  std::string app;
  std::string environment;
  std::string template_id;
  std::int64_t template_version = 0;  // "$Latest" and "$Default" resolved
  std::string ami;                    // that the group launches now
  std::int64_t desired = 0;
};

struct Usage {
  std::vector<OwnImage> images;          // disabled ones too; newest first
  std::vector<UsingInstance> instances;  // by launch time; those that have ended are left out
  std::vector<UsingTemplate> templates;  // every version of every template
  std::vector<UsingGroup> groups;

  const OwnImage* image(std::string_view ami) const;
};

Usage look_at_usage(aws::Client& client);

}  // namespace kiln::fleet
