// kiln promote: moves a channel to a version, by the rules of kiln.yaml.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "catalog/rules.h"
#include "cli/command.h"
#include "cli/parser.h"
#include "cli/session.h"
#include "deploy/history.h"

namespace kiln::cli {
namespace {

std::vector<catalog::Channel> channels_of(const spec::App& app) {
  if (app.channels.empty()) {
    return catalog::default_channels(
        std::ranges::any_of(app.environments, [](const spec::Environment& e) { return e.name == "staging"; }));
  }
  std::vector<catalog::Channel> channels;
  for (const spec::ChannelSpec& spec : app.channels) {
    channels.push_back({spec.name, spec.tested, spec.is_signed, spec.from, spec.deployed, spec.approved_by});
  }
  return channels;
}

catalog::Channel channel_named(const spec::App& app, const std::string& name) {
  std::vector<std::string> names;
  for (const catalog::Channel& channel : channels_of(app)) {
    if (channel.name == name) return channel;
    names.push_back(channel.name);
  }
  const auto near = nearest(name, names);
  throw Error(
      ErrorCode::usage,
      fmt::format("{} has no channel '{}'{}", app.name, name, near ? fmt::format("; did you mean '{}'?", *near) : ""),
      fmt::format("It has: {}. Others are written into kiln.yaml's 'channels'.", join(names, ", ")));
}

catalog::PromotionFacts facts_of(const spec::App& app, ledger::Ledger& ledger, const catalog::Image& image,
                                 const std::string& actor) {
  catalog::PromotionFacts facts{{}, actor};
  const deploy::History history(ledger);
  for (const spec::Environment& environment : app.environments) {
    // The ledger calls the environment `local` by no name.
    const std::string written = environment.name == "local" ? "" : environment.name;
    for (const deploy::Deployment& deployment : history.list(app.name, written)) {
      if (deployment.outcome == deploy::Outcome::done && deployment.digest == image.digest) {
        facts.deployed_in.insert(environment.name);
      }
    }
  }
  return facts;
}

void check(const std::vector<catalog::Refusal>& refusals, const catalog::Image& image, const std::string& channel,
           bool force) {
  if (refusals.empty()) return;
  if (force && std::ranges::none_of(refusals, catalog::is_absolute)) {
    for (const auto& refusal : refusals) talk(fmt::format("  passed over: {} ({})", refusal.rule, refusal.why));
    return;
  }
  std::string message = fmt::format("{} may not be promoted to {}", image.name(), channel);
  std::string next;
  for (const catalog::Refusal& refusal : refusals) {
    message += fmt::format("\n  {}: {}", refusal.rule, refusal.why);
    next += fmt::format("{}{}", next.empty() ? "" : "\n        ", refusal.next);
  }
  throw Error(ErrorCode::conflict, message, next);
}

void say_promotion(const catalog::Promotion& promotion, bool json) {
  if (json) {
    return say_json({{"app", promotion.app},
                     {"channel", promotion.channel},
                     {"version", promotion.version},
                     {"digest", promotion.digest.str()},
                     {"from", promotion.from.empty() ? nlohmann::json() : nlohmann::json(promotion.from)},
                     {"forced", promotion.forced},
                     {"by", promotion.act.by},
                     {"why", promotion.act.why}});
  }
  say(fmt::format("{}@{} is {}{}", promotion.app, promotion.channel, promotion.version,
                  promotion.from.empty() ? "" : fmt::format(" (was {})", promotion.from)));
}

}  // namespace

int run_promote(Context& context, const std::vector<std::string>& words) {
  Parser parser;
  bool json = false, force = false, approve = false;
  std::string reference, channel_name, why;
  parser.flag("--json", json);
  parser.flag("--force", force);
  parser.flag("--approve", approve);
  parser.option("--why", why);
  parser.option("image", reference).required();
  parser.option("channel", channel_name).required();
  if (!parser.parse("promote", words)) return 0;
  if (force && trim(why).empty()) {
    throw Error(ErrorCode::usage, "--force needs a reason", "It goes into the ledger: --force --why 'the reason'");
  }
  const spec::App app = load_app(context);
  const catalog::Channel channel = channel_named(app, channel_name);
  ledger::Ledger ledger(context.ledger_folder(), context.clock, context.actor());
  catalog::Catalog catalog(ledger);
  const catalog::Image image = catalog.find(reference, app.name);
  if (image.app != app.name) {
    throw Error(
        ErrorCode::usage, fmt::format("{} is no image of {}", image.name(), app.name),
        fmt::format("The rules of its channels are in the kiln.yaml of {}: go to its folder, or name it with -C.",
                    image.app));
  }
  if (approve) {
    catalog.record_approved(image, channel.name, why);
    if (json) {
      say_json({{"app", app.name}, {"version", image.version}, {"channel", channel.name}, {"by", context.actor()}});
    } else {
      say(fmt::format("{} is approved for {} by {}", image.name(), channel.name, context.actor()));
    }
    return 0;
  }
  check(catalog::refusals(channel, image, catalog.view(app.name), facts_of(app, ledger, image, context.actor())), image,
        channel.name, force);
  say_promotion(catalog.record_promoted(image, channel.name, why, force), json);
  return 0;
}

}  // namespace kiln::cli
