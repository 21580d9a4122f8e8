// Standing: what may be done with an image, here and in AWS.
#include "cli/standing.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/parser.h"
#include "cli/places.h"
#include "wire/ec2.h"

namespace kiln::cli {
namespace {

namespace ec2 = wire::ec2;
using catalog::Standing;

// AWS rounds to the minute and refuses what is past.
constexpr Duration kDeprecationLead{120'000};

void disable(aws::Client& client, const fleet::OwnImage& own) {
  if (own.state == "disabled") return;
  ec2::DisableImageRequest request;
  request.image_id = own.ami;
  client.call<ec2::DisableImage>(request);
}

void deprecate(Context& context, aws::Client& client, const fleet::OwnImage& own) {
  if (own.deprecated) return;
  ec2::EnableImageDeprecationRequest request;
  request.image_id = own.ami;
  request.deprecate_at = context.clock.now() + kDeprecationLead;
  client.call<ec2::EnableImageDeprecation>(request);
}

void restore(aws::Client& client, const fleet::OwnImage& own) {
  if (own.state == "disabled") {
    ec2::EnableImageRequest request;
    request.image_id = own.ami;
    client.call<ec2::EnableImage>(request);
  }
  if (own.deprecated) {
    ec2::DisableImageDeprecationRequest request;
    request.image_id = own.ami;
    client.call<ec2::DisableImageDeprecation>(request);
  }
}

void bring_about(Context& context, aws::Client& client, const fleet::OwnImage& own, Standing standing) {
  if (standing == Standing::usable) return restore(client, own);
  if (standing == Standing::deprecated) return deprecate(context, client, own);
  disable(client, own);
}

// Who runs it, and who would launch it the next time an instance is replaced.
struct Users {
  nlohmann::json json = nlohmann::json::array();
  std::vector<std::string> lines;
};

void add_users(const Place& place, const fleet::OwnImage& own, Users& users) {
  const auto add = [&](const char* kind, const std::string& id, nlohmann::json more, const std::string& line) {
    nlohmann::json user = {{"kind", kind},
                           {"id", id},
                           {"ami", own.ami},
                           {"account", place.connection->account()},
                           {"region", place.connection->region()}};
    user.update(more);
    users.json.push_back(user);
    users.lines.push_back(line);
  };
  for (const fleet::UsingInstance& instance : place.usage.instances) {
    if (instance.ami != own.ami) continue;
    add("instance", instance.id, {{"group", instance.group}, {"since", format_iso8601(instance.launched)}},
        fmt::format("runs it: {} ({}{}) since {}", instance.id, instance.state,
                    instance.group.empty() ? "" : ", " + instance.group, format_iso8601(instance.launched)));
  }
  for (const fleet::UsingGroup& group : place.usage.groups) {
    if (group.ami != own.ami) continue;
    add("group", group.name, {{"app", group.app}},
        fmt::format("would launch it: the group {} (template version {})", group.name, group.template_version));
  }
  for (const fleet::UsingTemplate& version : place.usage.templates) {
    if (version.ami != own.ami) continue;
    add("template", version.name, {{"version", version.version}},
        fmt::format("names it: launch template {} version {}{}{}", version.name, version.version,
                    version.is_default ? ", its default" : "", version.is_latest ? ", its latest" : ""));
  }
}

}  // namespace

int run_standing(Context& context, const std::vector<std::string>& words, std::string_view command, Standing standing) {
  Parser parser;
  bool json = false;
  std::string reference, why;
  parser.flag("--json", json);
  parser.option("--why", why);
  parser.option("image", reference).required();
  if (!parser.parse(command, words)) return 0;
  if (trim(why).empty()) {
    throw Error(ErrorCode::usage, fmt::format("kiln {} needs a reason", command),
                "Whoever is refused the image will read it: --why 'the reason'");
  }
  ledger::Ledger ledger(context.ledger_folder(), context.clock, context.actor());
  catalog::Catalog catalog(ledger);
  const catalog::Image image = catalog.find(reference, app_here(context));
  // Written down first: whatever AWS answers, nobody deploys it from now on. The same command again does what is left.
  catalog.record_standing(image, standing, why);
  const Places places = look_at_places(context);
  nlohmann::json amis = nlohmann::json::array();
  Users users;
  for (const Place& place : places.reached) {
    for (const fleet::OwnImage* own : place.amis_of(image)) {
      with_context(fmt::format("bringing {} to {} in {}", own->ami, to_string(standing), place.title()),
                   [&] { bring_about(context, place.connection->client(), *own, standing); });
      amis.push_back(own->ami);
      add_users(place, *own, users);
    }
  }
  if (json) {
    say_json({{"image", image.name()},
              {"digest", image.digest.str()},
              {"standing", to_string(standing)},
              {"why", why},
              {"amis", amis},
              {"users", users.json},
              {"not_reached", places.not_reached}});
    return 0;
  }
  say(fmt::format("{} is {} ({} AMI{}): {}", image.name(), to_string(standing), amis.size(),
                  amis.size() == 1 ? "" : "s", why));
  if (standing != Standing::usable) {
    for (const std::string& line : users.lines) say("  " + line);
  }
  for (const std::string& place : places.not_reached) talk("  not reached, and nothing changed there: " + place);
  return 0;
}

}  // namespace kiln::cli
