// InstanceBake: see instance_bake.h.
#include "cli/instance_bake.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "bake/bake.h"
#include "base/error.h"
#include "base/text.h"
#include "builder/ami_image.h"
#include "builder/builder.h"
#include "builder/disk.h"
#include "cli/image_trial.h"
#include "cli/proofs.h"
#include "cli/session.h"
#include "host/lock.h"

namespace kiln::cli {
namespace {

void talk_about(const builder::Progress& progress, bool verbose) {
  const std::string head = fmt::format("  {}/{} {}", progress.index + 1, progress.count, progress.text);
  if (progress.kind == builder::Progress::Kind::started) {
    if (verbose) talk(head);
    return;
  }
  if (verbose && !progress.output.empty()) fmt::print(stderr, "{}", progress.output);
  talk(fmt::format("{}  {}", head, format_seconds(progress.duration)));
}

void check_asked(const spec::App& app, const InstanceBake& asked) {
  for (const spec::ImageCheck& check : app.image.test) {
    if (asked.no_test || !std::holds_alternative<spec::ReadOnlyCheck>(check.action)) continue;
    throw app.source.error(check.where, "the root of an AMI that is baked in an instance can be written",
                           "Leave 'read_only' out, or bake offline: kiln bake.");
  }
  if (app.image.writable && !asked.json) {
    talk("  note: 'writable' does not hold for an AMI that is baked in an instance; its whole root can be written");
  }
}

std::string tag(const builder::Result& result, const char* name) {
  const auto found = result.tags.find(name);
  return found == result.tags.end() ? std::string() : found->second;
}

class InstanceBakery {
 public:
  InstanceBakery(Context& context, const BakeRecipe& recipe, const InstanceBake& asked)
      : context_(context),
        recipe_(recipe),
        asked_(asked),
        environment_(recipe.app.environment(asked.environment)),
        lock_(host::FileLock::take(builder_lock(context, recipe.app.name, environment_.name),
                                   fmt::format("kiln bake --in-instance {}", recipe.app.name), context.clock.now())),
        key_(signing_key(context, asked.key_file)),
        begun_(context.clock.uptime()),
        connection_(context, environment_),
        ledger_(context.ledger_folder(), context.clock, context.actor()),
        catalog_(ledger_),
        store_(context.store_folder()),
        site_{connection_.client(),  context.clock,       context.random, ledger_,
              connection_.account(), connection_.region()} {}

  int bake() {
    sweep();
    context_.watch_interrupts();
    builder::Result result;
    bool passed = false;
    try {
      result = with_context(fmt::format("baking {} in an instance", recipe_.app.name),
                            [&] { return builder::bake_in_instance(site_, request()); });
      passed = test(result);
      if (passed) record(result);
      if (tested_) trial::record(ledger_, recipe_.app.name, version_, digest_, recipe_.app.image.test, trial_.report);
    } catch (const std::exception&) {
      clean_up_after_failure();
      throw;
    }
    sweep();
    if (!trial_.kept.empty() && !asked_.json) talk_about_kept(trial_.kept);
    if (!passed && !asked_.json) require_passed(recipe_.app, trial_request(), trial_);
    if (passed && recipe_.packer)
      run_post_processors(context_, *recipe_.packer, [&] { return connection_.region() + ":" + result.ami; });
    report(result, passed);
    return passed ? 0 : 1;
  }

 private:
  void sweep() { say_removed(builder::sweep(site_, catalog_, recipe_.app.name), asked_.json); }

  // Not to be interrupted by the Ctrl-C that asked for it. The next bake removes what this one cannot.
  void clean_up_after_failure() {
    if (Context::interrupted().exchange(false) && !asked_.json) talk("  interrupted: removing the builder");
    try {
      sweep();
    } catch (const Error& left) {
      talk(fmt::format("  the builder could not be removed, and the next bake will do it: {}", left.what()));
    }
  }

  builder::InstanceOptions instance() const {
    builder::InstanceOptions options;
    if (!asked_.instance_type.empty()) options.type = asked_.instance_type;
    options.profile = asked_.instance_profile;
    options.subnet = asked_.subnet;
    // The region's instances are reached without an agent.
    options.install_agent = !connection_.local();
    options.cancelled = [] { return Context::interrupted().load(); };
    if (!asked_.json) options.on_note = [](const std::string& note) { talk("  " + note); };
    return options;
  }

  builder::Request request() {
    started_ = context_.clock.now();
    version_ = bake::resolve_version(recipe_.app, context_.folder, started_);
    builder::Request request{recipe_.app, context_.folder, environment_.name, version_, instance(), {}, surrogate()};
    if (!asked_.json)
      request.on_progress = [verbose = asked_.verbose](const builder::Progress& p) { talk_about(p, verbose); };
    return request;
  }

  const spec::Surrogate* surrogate() const {
    if (!recipe_.packer || !recipe_.packer->build().surrogate) return nullptr;
    return &*recipe_.packer->build().surrogate;
  }

  TrialRequest trial_request() const { return {version_, digest_, asked_.json, asked_.keep}; }

  // What is known of the AMI is in the store before it is tested; whether it counts is decided after that.
  bool test(const builder::Result& result) {
    digest_ =
        builder::keep_ami(store_, {site_.account, site_.region, result.ami, result.snapshot, result.base}, result.disk);
    tested_ = !recipe_.app.image.test.empty() && !asked_.no_test;
    if (!tested_) return true;
    trial_ = try_ami(context_, recipe_.app, store_, site_, {result.run, result.ami, instance()}, trial_request());
    return trial_.report.passed();
  }

  // The proofs first, so that a version which is taken has them, whenever this ends.
  void record(builder::Result& result) {
    const proof::SbomSubject subject = subject_of(recipe_.app.name, version_, digest_);
    prove(store_, subject, proof::take_inventory({builder::read_disk(result.disk).contents}), provenance(result));
    builder::name_image(site_, result.ami, digest_);
    result.tags["kiln:digest"] = digest_.str();
    catalog::Image image;
    image.app = recipe_.app.name;
    image.version = version_;
    image.digest = digest_;
    image.built = parse_iso8601(tag(result, "kiln:built"));
    image.commit = tag(result, "kiln:commit");
    image.recipe = result.recipe;
    image.base = result.base;
    image.kiln = kVersion;
    image.size_bytes = result.size_bytes;
    image.metadata = result.tags;
    image = catalog_.record_baked(image);
    catalog_.record_placed(image, {site_.account, site_.region, result.ami, site_.clock.now()});
    if (key_) sign(context_, store_, subject, *key_);
  }

  proof::BakeRecord provenance(const builder::Result& result) const {
    proof::BakeRecord record =
        begin_record(context_, recipe_.app, subject_of(recipe_.app.name, version_, digest_), started_);
    record.build_type = std::string(proof::kInstanceBuildType);
    record.recipe = result.recipe;
    record.base = result.base;
    record.commit = tag(result, "kiln:commit");
    for (const builder::Result::Step& step : result.steps) record.inputs.push_back({step.text, step.inputs});
    record.parameters = {{"account", site_.account},         {"region", site_.region}, {"run", result.run},
                         {"instance_type", instance().type}, {"ami", result.ami},      {"snapshot", result.snapshot}};
    for (const trial::CheckResult& check : trial_.report.checks) record.tests.push_back({check.name, check.passed});
    return record;
  }

  void report(const builder::Result& result, bool passed) const {
    if (!asked_.json) {
      if (key_) talk(fmt::format("  signed by key {}", key_->public_key().id().short_str()));
      say(fmt::format("baked {}@{} as {}  in an instance from {}  {}  {}", recipe_.app.name, version_, result.ami,
                      result.base, format_bytes(result.size_bytes), format_seconds(context_.clock.uptime() - begun_)));
      return;
    }
    nlohmann::json out = {{"version", version_},
                          {"ami", passed ? nlohmann::json(result.ami) : nlohmann::json()},
                          {"base", result.base},
                          {"digest", digest_.str()},
                          {"size_bytes", result.size_bytes},
                          {"tags", result.tags},
                          {"duration_ms", (context_.clock.uptime() - begun_).count()}};
    out["signed_by"] = key_ && passed ? nlohmann::json(key_->public_key().id().str()) : nlohmann::json();
    if (tested_) out["test"] = trial::to_json(trial_.report);
    if (!trial_.kept.empty()) out["kept"] = trial_.kept;
    say_json(out);
  }

  Context& context_;
  const BakeRecipe& recipe_;
  const InstanceBake& asked_;
  const spec::Environment& environment_;
  host::FileLock lock_;
  std::optional<proof::SigningKey> key_;
  Duration begun_;
  Connection connection_;
  ledger::Ledger ledger_;
  catalog::Catalog catalog_;
  store::Store store_;
  builder::Site site_;
  std::string version_;
  Time started_{};
  Digest digest_;
  bool tested_ = false;
  TrialResult trial_;
};

}  // namespace

host::Path builder_lock(const Context& context, const std::string& app, const std::string& environment) {
  host::make_folders(context.locks_folder());
  return context.locks_folder() / fmt::format("builder-{}-{}", app, environment);
}

void say_removed(const std::vector<std::string>& removed, bool quiet) {
  if (!removed.empty() && !quiet) talk("  removed: " + join(removed, ", "));
}

int bake_in_instance(Context& context, const BakeRecipe& recipe, const InstanceBake& asked) {
  check_asked(recipe.app, asked);
  return InstanceBakery(context, recipe, asked).bake();
}

}  // namespace kiln::cli
