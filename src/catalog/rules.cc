// Rules: each in a line or two.
#include "catalog/rules.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace kiln::catalog {
namespace {

constexpr std::string_view kStandingRule = "standing";

bool was_in(const View& view, const Image& image, const std::string& channel) {
  return std::ranges::any_of(view.promotions, [&](const Promotion& promotion) {
    return promotion.app == image.app && promotion.channel == channel && promotion.digest == image.digest;
  });
}

bool is_approved(const Channel& channel, const Image& image, const PromotionFacts& facts) {
  return std::ranges::any_of(channel.approved_by, [&](const std::string& person) {
    return person == facts.actor || image.approved.contains(channel.name + " " + person);
  });
}

}  // namespace

std::vector<Channel> default_channels(bool has_staging_environment) {
  Channel dev{.name = "dev"}, staging{.name = "staging"}, production{.name = "production"};
  production.from = "staging";
  production.deployed = has_staging_environment ? "staging" : "any";
  return {dev, staging, production};
}

std::vector<Refusal> refusals(const Channel& channel, const Image& image, const View& view,
                              const PromotionFacts& facts) {
  std::vector<Refusal> all;
  if (!image.deployable()) {
    all.push_back({std::string(kStandingRule),
                   fmt::format("{} is {}: {}", image.name(), to_string(image.standing), image.stood.why),
                   fmt::format("Promote another version, or take it back: kiln restore {}", image.name())});
  }
  const TestRun* newest = image.tests.empty() ? nullptr : &image.tests.back();
  if (newest != nullptr && !newest->passed) {
    all.push_back({"tested",
                   fmt::format("its test of {} failed: {}", format_iso8601(newest->when),
                               newest->failed.empty() ? "no check is named" : join(newest->failed, ", ")),
                   fmt::format("Test it again: kiln test {}", image.name())});
  } else if (channel.tested && newest == nullptr) {
    all.push_back({"tested", "it was never tested", fmt::format("Test it: kiln test {}", image.name())});
  }
  if (channel.is_signed && image.signed_by.empty()) {
    all.push_back({"signed", "nobody has signed it", fmt::format("Sign it: kiln sign {}", image.name())});
  }
  if (!channel.from.empty() && !was_in(view, image, channel.from)) {
    all.push_back({"from: " + channel.from, fmt::format("it was never in the channel {}", channel.from),
                   fmt::format("Promote it there first: kiln promote {} {}", image.name(), channel.from)});
  }
  if (channel.deployed == "any" && facts.deployed_in.empty()) {
    all.push_back({"deployed: any", "no deployment of it has ended with success",
                   fmt::format("Deploy it: kiln deploy --image {}", image.version)});
  } else if (!channel.deployed.empty() && channel.deployed != "any" && !facts.deployed_in.contains(channel.deployed)) {
    all.push_back({"deployed: " + channel.deployed,
                   fmt::format("no deployment of it in {} has ended with success", channel.deployed),
                   fmt::format("Deploy it there: kiln deploy --env {} --image {}", channel.deployed, image.version)});
  }
  if (!channel.approved_by.empty() && !is_approved(channel, image, facts)) {
    all.push_back({"approved_by", fmt::format("none of {} has approved it", join(channel.approved_by, ", ")),
                   fmt::format("One of them runs: kiln promote {} {} --approve", image.name(), channel.name)});
  }
  return all;
}

bool is_absolute(const Refusal& refusal) { return refusal.rule == kStandingRule; }

}  // namespace kiln::catalog
