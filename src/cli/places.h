// Places: the accounts and regions where an app's images may be, and what a command does with them there.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "catalog/catalog.h"
#include "cli/session.h"
#include "fleet/usage.h"

namespace kiln::cli {

// One account and region, looked at once.
struct Place {
  std::unique_ptr<Connection> connection;
  std::vector<std::string> environments;  // of kiln.yaml that lead here; empty without a kiln.yaml
  fleet::Usage usage;

  // The AMIs here that hold the image: by the catalog and by their tags.
  std::vector<const fleet::OwnImage*> amis_of(const catalog::Image& image) const;
  std::string title() const;  // "123456789012 us-east-1"
};

struct Places {
  std::vector<Place> reached;
  std::vector<std::string> not_reached;  // "staging: no region 'default' runs on this machine"

  const Place* find(const std::string& account, const std::string& region) const;
};

// Those of kiln.yaml's environments in the context's folder, or the region on this machine where there is no kiln.yaml.
// One that does not answer is not an error here: it is named in `not_reached`.
Places look_at_places(Context& context);

// A fleet, or an instance launched by hand, that runs an image now.
struct Running {
  std::string place;  // "123456789012 us-east-1"
  std::string group;  // the instance's id for one launched by hand
  std::string ami;
  std::size_t instances = 0;
  Time since{};  // the oldest instance's launch
};
std::vector<Running> running(const Places& places, const catalog::Image& image);
std::size_t instances_of(const std::vector<Running>& running);
nlohmann::json to_json(const std::vector<Running>& running);
nlohmann::json to_json(const catalog::Copy& copy);

// "web", by kiln.yaml in the context's folder; empty when there is none.
std::string app_here(const Context& context);

}  // namespace kiln::cli
