// kiln gc: lets go of images that nothing refers to, their AMIs, snapshots, template versions and bytes.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "catalog/gc.h"
#include "cli/command.h"
#include "cli/contents.h"
#include "cli/parser.h"
#include "cli/places.h"
#include "cli/way_back.h"
#include "host/lock.h"
#include "registry/waypoints.h"
#include "store/lease.h"
#include "store/store.h"
#include "store/sweep.h"
#include "wire/ec2.h"

namespace kiln::cli {
namespace {

namespace ec2 = wire::ec2;
using catalog::Fate;
using catalog::Standing;

// What one place says of who needs which image.
class References {
 public:
  References(const Place& place, const catalog::View& view) : place_(place) {
    for (const catalog::Image& image : view.images) {
      if (image.standing == Standing::gone) continue;
      for (const fleet::OwnImage* own : place.amis_of(image)) digests_.emplace(own->ami, image.digest);
    }
  }

  std::vector<catalog::Reference> all() {
    for (const fleet::UsingInstance& instance : place_.usage.instances) {
      add(instance.ami, fmt::format("the instance {} is {} from {}", instance.id, instance.state, instance.ami));
    }
    for (const fleet::UsingGroup& group : place_.usage.groups) {
      add(group.ami, fmt::format("the group {} launches {}", group.name, group.ami));
    }
    for (const fleet::UsingTemplate& version : place_.usage.templates) {
      // Those of Kiln's templates count by their group, instances and way back.
      if (!version.app.empty()) continue;
      add(version.ami,
          fmt::format("the launch template {} version {} names {}", version.name, version.version, version.ami));
    }
    for (const fleet::OwnImage& own : place_.usage.images) {
      if (own.is_protected && own.tag(kTagProtected).empty())
        add(own.ami, own.ami + " is protected from deregistration");
    }
    return references_;
  }

 private:
  void add(const std::string& ami, const std::string& why) {
    const auto found = digests_.find(ami);
    if (found != digests_.end()) references_.push_back({found->second, why});
  }

  const Place& place_;
  std::map<std::string, Digest> digests_;
  std::vector<catalog::Reference> references_;
};

std::vector<std::string> other_regions(const Context& context) {
  std::vector<std::string> others;
  if (!std::filesystem::exists(context.home / "regions")) return others;
  for (const std::string& name : host::list_folder(context.home / "regions")) {
    if (name != kDefaultRegion && read_region_record(context, name)) others.push_back("the region " + name);
  }
  return others;
}

// The versions of Kiln's launch templates that name this AMI go with it. AWS keeps a default version: it moves first,
// to one that launches something else.
std::vector<std::string> template_versions_of(const Place& place, const std::string& ami) {
  std::vector<std::string> named;
  for (const fleet::UsingTemplate& version : place.usage.templates) {
    if (version.ami == ami && !version.app.empty())
      named.push_back(fmt::format("{} {}", version.name, version.version));
  }
  return named;
}

void delete_template_versions(Place& place, const std::string& ami) {
  aws::Client& client = place.connection->client();
  for (const fleet::UsingTemplate& version : place.usage.templates) {
    if (version.ami != ami || version.app.empty()) continue;
    if (version.is_default) {
      const auto other = std::ranges::find_if(place.usage.templates, [&](const fleet::UsingTemplate& candidate) {
        return candidate.id == version.id && candidate.is_latest && candidate.ami != ami;
      });
      if (other == place.usage.templates.end()) continue;
      ec2::ModifyLaunchTemplateRequest move;
      move.launch_template_id = version.id;
      move.default_version = std::to_string(other->version);
      client.call<ec2::ModifyLaunchTemplate>(move);
    }
    ec2::DeleteLaunchTemplateVersionsRequest request;
    request.launch_template_id = version.id;
    request.versions = {std::to_string(version.version)};
    client.call<ec2::DeleteLaunchTemplateVersions>(request);
  }
}

class Collection {
 public:
  Collection(Context& context, const catalog::GcRules& rules)
      : context_(context),
        ledger_(context.ledger_folder(), context.clock, context.actor()),
        catalog_(ledger_),
        store_(context.store_folder()),
        places_(look_at_places(context)),
        rest_(rules.grace) {
    facts_.not_reached = places_.not_reached;
    facts_.view = catalog_.view();
    for (const std::string& other : other_regions(context)) facts_.not_reached.push_back(other);
    for (const Place& place : places_.reached) {
      for (auto& reference : References(place, facts_.view).all()) at_places_.push_back(std::move(reference));
    }
    look_here();
    verdicts_ = catalog::plan_gc(facts_, rules);
    swept_ = sweep(false);
    transfers_ = registry::Waypoints(store_).sweep(facts_.now, false);
  }

  void act() {
    for (catalog::Verdict& verdict : verdicts_) {
      if (verdict.fate == Fate::put_aside && claim(verdict)) disable_amis(verdict.image);
      // A run that was killed may have left them as they were.
      if (verdict.fate == Fate::wait) disable_amis(verdict.image);
    }
    for (catalog::Verdict& verdict : verdicts_) {
      if (verdict.fate == Fate::remove && claim(verdict)) remove(verdict);
    }
    look_here();
    swept_ = sweep(true);
    transfers_ = registry::Waypoints(store_).sweep(context_.clock.now(), true);
  }

  void undo(const std::string& reference) {
    const catalog::Image image = catalog_.find(reference, app_here(context_));
    if (image.standing != Standing::aside) {
      throw Error(ErrorCode::conflict,
                  fmt::format("{} was not put aside: it is {}", image.name(), to_string(image.standing)),
                  image.standing == Standing::gone ? "Its bytes are deleted: bake a new version."
                                                   : "Leave it as it is; see: kiln show " + image.name());
    }
    catalog_.record_standing(image, Standing::usable, "taken back by kiln gc --undo");
    for (const Place& place : places_.reached) {
      for (const fleet::OwnImage* own : place.amis_of(image)) {
        if (own->state != "disabled") continue;
        ec2::EnableImageRequest request;
        request.image_id = own->ami;
        place.connection->client().call<ec2::EnableImage>(request);
      }
    }
    say(fmt::format("{} is back", image.name()));
  }

  void report(bool done) const {
    for (const catalog::Verdict& verdict : verdicts_) {
      say(fmt::format("{:<9} {:<24} {:>8}  {}{}{}", to_string(verdict.fate), verdict.image.name(),
                      verdict.fate == Fate::remove ? format_bytes(bytes_of(verdict.image)) : "-", verdict.why,
                      goes(verdict) ? in_registries(verdict.image) : "",
                      verdict.fate == Fate::remove ? in_aws(verdict.image) : ""));
    }
    say(fmt::format(
        "{} {} in {} blobs of the store{}", done ? "freed" : "would free", format_bytes(swept_.bytes), swept_.blobs,
        swept_.young_bytes == 0
            ? ""
            : fmt::format("; {} more, unless they are used, when they have rested", format_bytes(swept_.young_bytes))));
    if (transfers_.files > 0) {
      say(fmt::format("{} {} in {} files of transfers that nobody goes on with", done ? "freed" : "would free",
                      format_bytes(transfers_.bytes), transfers_.files));
    }
    for (const std::string& place : facts_.not_reached) talk("  not reached, so what is placed stays: " + place);
    if (!done && std::ranges::any_of(verdicts_, goes)) {
      talk("  nothing was changed; next: kiln gc --yes");
    }
  }

  nlohmann::json to_json(bool done) const {
    nlohmann::json images = nlohmann::json::array();
    for (const catalog::Verdict& verdict : verdicts_) {
      images.push_back({{"image", verdict.image.name()},
                        {"digest", verdict.image.digest.str()},
                        {"fate", to_string(verdict.fate)},
                        {"why", verdict.why},
                        {"frees_bytes", verdict.fate == Fate::remove ? bytes_of(verdict.image) : 0},
                        {"amis", amis_json(verdict.image)},
                        {"copies", copies_json(verdict.image)}});
    }
    return {{"done", done},
            {"images", images},
            {"freed_bytes", swept_.bytes},
            {"freed_blobs", swept_.blobs},
            {"young_bytes", swept_.young_bytes},
            {"transfer_files", transfers_.files},
            {"transfer_bytes", transfers_.bytes},
            {"not_reached", facts_.not_reached}};
  }

 private:
  std::uint64_t bytes_of(const catalog::Image& image) const {
    const auto found = swept_.of_gone.find(image.digest);
    return found == swept_.of_gone.end() ? 0 : found->second;
  }

  nlohmann::json amis_json(const catalog::Image& image) const {
    nlohmann::json amis = nlohmann::json::array();
    for (const Place& place : places_.reached) {
      for (const fleet::OwnImage* own : place.amis_of(image)) {
        amis.push_back({{"ami", own->ami},
                        {"account", place.connection->account()},
                        {"region", place.connection->region()},
                        {"snapshots", own->snapshots},
                        {"template_versions", template_versions_of(place, own->ami)},
                        {"snapshot_gib_max", own->volume_gib}});
      }
    }
    return amis;
  }

  static bool goes(const catalog::Verdict& verdict) {
    return verdict.fate == Fate::put_aside || verdict.fate == Fate::remove;
  }

  static nlohmann::json copies_json(const catalog::Image& image) {
    nlohmann::json copies = nlohmann::json::array();
    for (const catalog::Copy& copy : image.copies) copies.push_back(cli::to_json(copy));
    return copies;
  }

  // They are left alone: with them the image can be had back when it is gone here.
  static std::string in_registries(const catalog::Image& image) {
    std::string text;
    for (const catalog::Copy& copy : image.copies) text += fmt::format("; {} stays", copy.reference);
    return text;
  }

  std::string in_aws(const catalog::Image& image) const {
    std::string text;
    for (const auto& ami : amis_json(image)) {
      text += fmt::format("; {} with {} snapshot(s) and {} template version(s)", ami["ami"].get<std::string>(),
                          ami["snapshots"].size(), ami["template_versions"].size());
    }
    return text;
  }

  // What the ledger and the processes of this machine say. They are asked again before anything goes: who begins to use
  // an image takes a lease or writes into the ledger before it looks whether it may.
  void look_here() {
    facts_.view = catalog_.view();
    facts_.now = context_.clock.now();
    facts_.references = at_places_;
    for (const Kept& kept : kept_by_deployments(ledger_)) facts_.references.push_back({kept.digest, kept.why});
    for (const store::Leased& leased : store::leases(store_)) {
      facts_.references.push_back(
          {leased.image, fmt::format("{} (process {}) uses it now", leased.what, leased.process.pid)});
    }
  }

  // Says that it goes, and looks then whether somebody began to use it before that could be read; if so, it is kept.
  bool claim(catalog::Verdict& verdict) {
    const catalog::Image& image = verdict.image;
    const bool fresh = image.standing != Standing::aside;
    if (fresh) catalog_.record_standing(image, Standing::aside, verdict.why);
    look_here();
    const auto why = catalog::needed(facts_, image);
    if (!why) return true;
    if (fresh) catalog_.record_standing(image, image.standing, image.stood.why.empty() ? *why : image.stood.why);
    verdict.fate = Fate::keep;
    verdict.why = *why;
    return false;
  }

  void disable_amis(const catalog::Image& image) {
    for (const Place& place : places_.reached) {
      for (const fleet::OwnImage* own : place.amis_of(image)) {
        if (own->state != "available") continue;
        ec2::DisableImageRequest request;
        request.image_id = own->ami;
        place.connection->client().call<ec2::DisableImage>(request);
      }
    }
  }

  void remove(const catalog::Verdict& verdict) {
    for (Place& place : places_.reached) {
      for (const fleet::OwnImage* own : place.amis_of(verdict.image)) {
        with_context(fmt::format("removing {} ({})", verdict.image.name(), own->ami), [&] {
          aws::Client& client = place.connection->client();
          delete_template_versions(place, own->ami);
          if (own->is_protected) unprotect(client, own->ami);
          ec2::DeregisterImageRequest request;
          request.image_id = own->ami;
          request.delete_associated_snapshots = true;
          try {
            client.call<ec2::DeregisterImage>(request);
          } catch (const aws::AwsError& error) {
            // Another version of the same content has taken it along.
            if (!error.aws_code().starts_with("InvalidAMIID.")) throw;
          }
        });
      }
    }
    catalog_.record_standing(verdict.image, Standing::gone, verdict.why);
  }

  // Also of images that an interrupted run has left.
  store::Swept sweep(bool act) const {
    store::SweepRequest request;
    request.layer_notes = context_.home / "cache" / "layers";
    request.layer_contents = contents_folder(context_);
    request.now = context_.clock.now();
    request.act = act;
    request.young_notes = rest_;
    std::set<Digest> stays;
    for (const catalog::Image& image : facts_.view.images) {
      if (image.standing != Standing::gone) stays.insert(image.digest);
    }
    for (const catalog::Verdict& verdict : verdicts_) {
      if (!act && verdict.fate == Fate::remove) stays.erase(verdict.image.digest);
    }
    for (const catalog::Reference& reference : facts_.references) stays.insert(reference.digest);
    for (const catalog::Image& image : facts_.view.images) {
      if (!stays.contains(image.digest)) request.gone.insert(image.digest);
    }
    return store::sweep(store_, request);
  }

  Context& context_;
  ledger::Ledger ledger_;
  catalog::Catalog catalog_;
  store::Store store_;
  Places places_;
  Duration rest_;                              // of layers that only the bake cache knows
  std::vector<catalog::Reference> at_places_;  // what uses images there
  catalog::GcFacts facts_;
  std::vector<catalog::Verdict> verdicts_;
  store::Swept swept_;
  registry::Waypoints::Swept transfers_;
};

Duration duration_of(const std::string& option, const std::string& text) {
  try {
    return parse_duration(text);
  } catch (const Error&) {
    throw Error(ErrorCode::usage, fmt::format("{} '{}' is no duration", option, text), "Write 30d, 12h or 0s.");
  }
}

}  // namespace

int run_gc(Context& context, const std::vector<std::string>& words) {
  Parser parser;
  bool json = false, yes = false;
  catalog::GcRules rules;
  std::string older = "30d", grace = "7d", undo;
  parser.flag("--json", json);
  parser.flag("--yes", yes);
  parser.option("--keep", rules.keep);
  parser.option("--older", older);
  parser.option("--grace", grace);
  parser.option("--undo", undo);
  parser.option("app", rules.app);
  if (!parser.parse("gc", words)) return 0;
  rules.older = duration_of("--older", older);
  rules.grace = duration_of("--grace", grace);
  host::make_folders(context.locks_folder());
  const auto lock = host::FileLock::take(context.locks_folder() / "gc", "kiln gc", context.clock.now());
  Collection collection(context, rules);
  if (!undo.empty()) {
    collection.undo(undo);
    return 0;
  }
  if (yes) collection.act();
  if (json) {
    say_json(collection.to_json(yes));
  } else {
    collection.report(yes);
  }
  return 0;
}

}  // namespace kiln::cli
