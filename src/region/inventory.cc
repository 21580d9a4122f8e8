// Inventory: the kinds of things, where the journal keeps them, and what of them AWS puts there itself.
#include "region/inventory.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "region/ec2/disk_model.h"
#include "region/ec2/model.h"

namespace kiln::region {
namespace {

using nlohmann::json;

struct Kind {
  const char* table;
  const char* name;
  // "": it has none. Null: not to be listed.
  std::optional<std::string> (*state)(const json& record);
};

std::optional<std::string> stateless(const json&) { return ""; }

std::optional<std::string> unless_default(const json& record) {
  if (record.value("is_default", false) || record.value("name", "") == "default") return std::nullopt;
  return "";
}

std::optional<std::string> of_instance(const json& record) {
  const auto state = static_cast<ec2::InstanceState>(record.at("state").get<int>());
  if (state == ec2::InstanceState::terminated) return std::nullopt;
  return std::string(ec2::to_string(state));
}

std::optional<std::string> of_image(const json& record) {
  return std::string(ec2::to_string(static_cast<ec2::ImageState>(record.at("state").get<int>())));
}

std::optional<std::string> of_snapshot(const json& record) {
  return std::string(ec2::to_string(static_cast<ec2::SnapshotState>(record.at("state").get<int>())));
}

constexpr Kind kOfRegion[] = {
    {"ec2.instance", "instances", of_instance},
    {"ec2.volume", "volumes", stateless},
    {"ec2.snapshot", "snapshots", of_snapshot},
    {"ec2.image", "images", of_image},
    {"ec2.launch_template", "launch templates", stateless},
    {"autoscaling_group", "Auto Scaling groups", stateless},
    {"elb.load_balancers", "load balancers", stateless},
    {"elb.target_groups", "target groups", stateless},
    {"ec2.key_pair", "key pairs", stateless},
    {"ec2.security_group", "security groups", unless_default},
    {"ec2.vpc", "VPCs", unless_default},
    {"ec2.address", "elastic IPs", stateless},
    {"ssm.parameter", "parameters", stateless},
};

constexpr Kind kOfAccount[] = {
    {"iam.user", "users", stateless},
    {"iam.role", "roles", stateless},
    {"iam.instance_profile", "instance profiles", stateless},
    {"iam.policy", "policies", stateless},
};

template <std::size_t N>
std::vector<Held> held_in(const Tables& journal, const std::string& prefix, const Kind (&kinds)[N]) {
  std::vector<Held> all;
  for (const Kind& kind : kinds) {
    Held held{.kind = kind.name, .things = {}};
    for (const auto& [key, text] : journal.load(prefix + kind.table)) {
      try {
        if (const auto state = kind.state(json::parse(text))) held.things.emplace(key, *state);
      } catch (const json::exception& error) {
        throw Error(ErrorCode::corrupt, fmt::format("the journal's record of '{}' in {} cannot be read: {}", key,
                                                    kind.table, error.what()));
      }
    }
    if (!held.things.empty()) all.push_back(std::move(held));
  }
  return all;
}

}  // namespace

std::vector<Inventory> read_inventory(const Tables& journal, const std::string& home_account,
                                      const std::string& home_region) {
  std::vector<Inventory> all;
  const auto add = [&](const std::string& account, const std::string& region, std::vector<Held> held) {
    if (!held.empty()) all.push_back({account, region, std::move(held)});
  };
  const std::string home = home_account + "/" + home_region;
  add(home_account, home_region, held_in(journal, "", kOfRegion));
  add(home_account, "", held_in(journal, "", kOfAccount));
  for (const auto& [name, none] : journal.load("region")) {
    if (name == home) continue;
    const std::size_t slash = name.find('/');
    add(name.substr(0, slash), name.substr(slash + 1), held_in(journal, name + "/", kOfRegion));
  }
  for (const auto& [account, none] : journal.load("account")) {
    if (account != home_account) add(account, "", held_in(journal, account + "/", kOfAccount));
  }
  return all;
}

}  // namespace kiln::region
