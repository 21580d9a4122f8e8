// Rules: may a channel move to an image? Pure.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "catalog/catalog.h"

namespace kiln::catalog {

// What kiln.yaml's `channels` says of one channel.
struct Channel {
  std::string name{};
  bool tested = false;                     // its newest test run passed
  bool is_signed = false;                  // somebody signed it
  std::string from{};                      // the channel that must point, or have pointed, at it
  std::string deployed{};                  // the environment where it was deployed with success; "any": in whichever
  std::vector<std::string> approved_by{};  // one of these promotes it or has approved it; empty: nobody need to
};

// dev, staging, production: what holds without `channels` in kiln.yaml. Production takes what was in staging and was
// deployed with success: in the environment `staging` when the app has one, else in any.
std::vector<Channel> default_channels(bool has_staging_environment);

struct PromotionFacts {
  std::set<std::string> deployed_in;  // environments where a deployment of this digest ended with success
  std::string actor;                  // who asks
};

struct Refusal {
  std::string rule;  // "deployed: staging"
  std::string why;
  std::string next;  // how to satisfy it
};

// Empty: it may. An image that is disabled, revoked or aside, or whose newest test run failed, may never.
std::vector<Refusal> refusals(const Channel& channel, const Image& image, const View& view,
                              const PromotionFacts& facts);
// Those that no --force lifts.
bool is_absolute(const Refusal& refusal);

}  // namespace kiln::catalog
