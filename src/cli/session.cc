// Session: opening what a command works on.
#include "cli/session.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "bake/bake.h"
#include "base/text.h"
#include "builder/ami_image.h"
#include "cli/ami_words.h"
#include "cli/image_trial.h"
#include "cli/progress.h"
#include "cli/proofs.h"
#include "cli/way_back.h"
#include "deploy/publish.h"
#include "proof/verify.h"
#include "store/store.h"
#include "wire/sts.h"

namespace kiln::cli {
namespace {

// A region on this machine says within milliseconds who asks. One that is stuck is not waited for as long as AWS is:
// three times this and the pauses between.
constexpr Duration kLocalAnswer{5'000};

aws::Environment environment_of(const RegionRecord& record) {
  return [record](const std::string& name) -> std::string {
    if (name == "AWS_ACCESS_KEY_ID") return record.access_key;
    if (name == "AWS_SECRET_ACCESS_KEY") return record.secret_key;
    if (name == "AWS_REGION") return record.aws_region;
    if (name == "AWS_ENDPOINT_URL") return record.endpoint;
    // Nothing of the user's own AWS configuration may lead a call for the local region elsewhere.
    if (name == "AWS_CONFIG_FILE" || name == "AWS_SHARED_CREDENTIALS_FILE") return "/dev/null";
    return {};
  };
}

[[noreturn]] void refuse_stuck(const Context& context, const Error& error) {
  const RegionRecord record = require_region(context, std::string(kDefaultRegion));
  throw Error(ErrorCode::timeout,
              fmt::format("the region runs (process {}) and {}", record.process.pid, error.message()),
              fmt::format("Its log is {}. What it runs goes on without it: kill -9 {}; kiln region start",
                          (context.region_folder(record.name) / "region.log").string(), record.process.pid));
}

aws::Config config_of(Context& context, const spec::Environment& environment, const std::string& region) {
  aws::Overrides overrides;
  overrides.region = region;
  if (environment.local)
    return aws::Config::load(environment_of(require_region(context, std::string(kDefaultRegion))), overrides);
  if (region.empty()) overrides.region = environment.region;
  overrides.endpoint = environment.endpoint;
  return aws::Config::load(aws::process_environment(), overrides);
}

}  // namespace

std::optional<RegionRecord> read_region_record(const Context& context, const std::string& name) {
  host::Path path = context.region_folder(name) / "region.json";
  if (!std::filesystem::exists(path)) return std::nullopt;
  try {
    nlohmann::json json = nlohmann::json::parse(host::read_file(path));
    RegionRecord record;
    record.name = name;
    record.process = host::ProcessRef::parse(json.at("process").get<std::string>()).value_or(host::ProcessRef{});
    record.endpoint = json.at("endpoint").get<std::string>();
    record.machines = json.at("machines").get<std::string>();
    record.throttle = json.value("throttle", false);
    record.describe_delay = Duration(json.value("describe_delay_ms", 0));
    record.aws_region = json.at("aws_region").get<std::string>();
    record.account = json.at("account").get<std::string>();
    record.access_key = json.at("access_key").get<std::string>();
    record.secret_key = json.at("secret_key").get<std::string>();
    record.root_seed = json.value("root_seed", "");
    record.slot = json.at("slot").get<int>();
    return record;
  } catch (const nlohmann::json::exception& error) {
    const std::string of = name == kDefaultRegion ? "" : " --name " + name;
    throw Error(ErrorCode::corrupt, fmt::format("{} cannot be read: {}", path.string(), error.what()),
                fmt::format("Put it back from a copy. Without it the region gets new root keys, and keeps all that it "
                            "has: rm {}; kiln region start{}",
                            path.string(), of));
  }
}

void write_region_record(const Context& context, const RegionRecord& record) {
  nlohmann::json json = {{"process", record.process.str()},
                         {"endpoint", record.endpoint},
                         {"machines", record.machines},
                         {"throttle", record.throttle},
                         {"describe_delay_ms", record.describe_delay.count()},
                         {"aws_region", record.aws_region},
                         {"account", record.account},
                         {"access_key", record.access_key},
                         {"secret_key", record.secret_key},
                         {"root_seed", record.root_seed},
                         {"slot", record.slot}};
  host::write_file(context.region_folder(record.name) / "region.json", json.dump(2) + "\n", 0600);
}

RegionRecord require_region(const Context& context, const std::string& name) {
  auto record = read_region_record(context, name);
  if (record && record->running()) return *record;
  std::string start = name == kDefaultRegion ? "kiln region start" : "kiln region start --name " + name;
  throw Error(ErrorCode::unavailable, fmt::format("no region '{}' runs on this machine", name), "Start it: " + start);
}

void ask_region(Context& context, const RegionRecord& record) {
  http::Client transport;
  aws::Client::Options options;
  options.user_agent = fmt::format("kiln/{}", kVersion);
  options.timeouts.total = kLocalAnswer;
  const aws::Environment environment = [own = environment_of(record)](const std::string& name) {
    return name == "AWS_MAX_ATTEMPTS" ? "1" : own(name);
  };
  aws::Client(aws::Config::load(environment), transport, context.clock, context.random, options)
      .call<wire::sts::GetCallerIdentity>({});
}

spec::App load_app(const Context& context) {
  host::Path path = context.folder / "kiln.yaml";
  if (!std::filesystem::exists(path)) {
    throw Error(ErrorCode::usage, fmt::format("there is no kiln.yaml in {}", context.folder.string()),
                "Go to the app's folder, name it with -C, or write a first one: kiln init");
  }
  std::string text = host::read_file(path);
  return spec::parse_app(text, "kiln.yaml");
}

Connection::Connection(Context& context, const spec::Environment& environment, const std::string& region)
    : local_(environment.local) {
  aws::Config config = config_of(context, environment, region);
  region_ = config.region();
  aws::Client::Options options;
  options.user_agent = fmt::format("kiln/{}", kVersion);
  options.cancelled = [] { return Context::interrupted().load(); };
  client_ = std::make_unique<aws::Client>(config, transport_, context.clock, context.random, options);
  if (local_) options.timeouts.total = kLocalAnswer;
  aws::Client asking(std::move(config), transport_, context.clock, context.random, options);
  with_context(fmt::format("asking {} who we are", environment.name), [&] {
    try {
      account_ = asking.call<wire::sts::GetCallerIdentity>({}).account.value_or("");
    } catch (const Error& error) {
      if (!local_ || error.code() != ErrorCode::timeout) throw;
      refuse_stuck(context, error);
    }
  });
}

Session::Session(Context& context, const std::string& environment_name)
    : app(load_app(context)),
      environment(app.environment(environment_name)),
      names(fleet::names_of(app.name, environment.name == "local" ? "" : environment.name)),
      ledger(context.ledger_folder(), context.clock, context.actor()),
      catalog(ledger),
      connection(context, environment) {}

const spec::FleetSpec& Session::fleet() const {
  if (environment.fleet) return *environment.fleet;
  throw Error(ErrorCode::usage, "kiln.yaml has no 'fleet': it says what to bake, not what to run",
              "Add a fleet, for example: fleet: {size: 2, listen: {port: 80}}");
}

namespace {

catalog::Image image_of(Context& context, const spec::App& app, catalog::Catalog& catalog,
                        const std::string& reference) {
  if (!reference.empty()) return catalog.find(reference, app.name);
  if (app.image.version_kind == spec::VersionKind::timestamp) return catalog.find("latest", app.name);
  std::string version = bake::resolve_version(app, context.folder, context.clock.now());
  if (auto image = catalog.find_version(app.name, version)) return *image;
  throw Error(ErrorCode::not_found, fmt::format("{} {} has not been baked", app.name, version),
              "Bake it: kiln bake. Or name another image: --image VERSION (see kiln images)");
}

}  // namespace

void require_deployable(const catalog::Image& image) {
  if (image.deployable()) return;
  const bool aside = image.standing == catalog::Standing::aside;
  throw Error(ErrorCode::conflict,
              fmt::format("{} is not deployed: it is {} since {} by {}: {}", image.name(),
                          aside ? "put aside by kiln gc" : to_string(image.standing), format_iso8601(image.stood.when),
                          image.stood.by, image.stood.why),
              fmt::format("Deploy another version (kiln images), or take it back: kiln {} {}{}",
                          aside ? "gc --undo" : "restore", image.name(), aside ? "" : " --why 'the reason'"));
}

void require_proofs(const Context& context, const spec::DeploySpec& deploy, const catalog::Image& image) {
  const auto refuse = [&](const std::string& why, const std::string& next) {
    throw Error(ErrorCode::denied, fmt::format("{} is not deployed: {}", image.name(), why), next);
  };
  if (deploy.tested && (image.tests.empty() || !image.tests.back().passed)) {
    refuse(fmt::format("kiln.yaml asks for 'tested', and {}",
                       image.tests.empty() ? "it was never tested" : "its newest test failed"),
           fmt::format("Test it: kiln test {}", image.name()));
  }
  if (!deploy.is_signed) return;
  const std::vector<proof::PublicKey> keys = trusted_keys(context, "");
  if (keys.empty()) {
    refuse(fmt::format("kiln.yaml asks for 'signed', and no key is trusted here: {} has no *.pub",
                       keys_folder(context).string()),
           "Put the public key of whoever signs there.");
  }
  const store::Store store(context.store_folder());
  if (!store.has(image.digest)) {
    refuse("kiln.yaml asks for 'signed', and what is said about it is not in the store of this machine",
           "Pull it from the registry where its signature is: kiln pull");
  }
  if (proof::signers(store, subject_of(image), keys).empty()) {
    refuse(fmt::format("kiln.yaml asks for 'signed', and none of the {} keys that are trusted here has signed it",
                       keys.size()),
           fmt::format("See why: kiln verify {}. Sign it: kiln sign {}. Trusted is what lies in {}.", image.name(),
                       image.name(), (keys_folder(context) / "*.pub").string()));
  }
}

std::string publish(Context& context, const catalog::Image& image, catalog::Catalog& catalog, Connection& connection) {
  require_tests_passed(ledger::Ledger(context.ledger_folder(), context.clock, context.actor()), image.app,
                       image.version, image.digest);
  require_deployable(image);
  if (!connection.local()) {
    // The plan says so when it is gone.
    const auto* placed = image.placed_in(connection.account(), connection.region());
    if (placed != nullptr) return placed->ami;
    throw Error(ErrorCode::unsupported, fmt::format("{} cannot be placed in AWS yet", image.name()),
                "This version of Kiln places images in the region on this machine only: endpoint: local");
  }
  deploy::PlacementRequest request;
  request.app = image.app;
  request.version = image.version;
  request.digest = image.digest;
  request.description = fmt::format("{} {}, baked by Kiln", image.app, image.version);
  request.tags = image.metadata;
  const AmiWords words = take_words(request.tags);
  request.name = words.name;
  if (!words.description.empty()) request.description = words.description;
  request.users = words.users;
  request.groups = words.groups;
  return with_context("publishing " + image.name(), [&] {
    std::string ami;
    try {
      ami = deploy::RegionPlacements(connection.client(), context.clock).place(request);
    } catch (const Error&) {
      if (!builder::find_ami(store::Store(context.store_folder()), image.digest)) throw;
      throw Error(ErrorCode::not_found, fmt::format("the AMI of {} is gone, and only AWS had its bytes", image.name()),
                  "Bake a new version of it: kiln bake --in-instance");
    }
    catalog.record_placed(image, {connection.account(), connection.region(), ami, context.clock.now()});
    for (const std::string& region : words.regions) {
      if (region == connection.region() || image.placed_in(connection.account(), region) != nullptr) continue;
      Connection other(context, spec::Environment{.name = "local"}, region);
      const std::string copy =
          deploy::RegionPlacements(other.client(), context.clock).copy(request, ami, connection.region());
      catalog.record_placed(image, {other.account(), region, copy, context.clock.now()});
    }
    return ami;
  });
}

deploy::Wanted wanted_of(Context& context, Session& session, const std::string& reference) {
  catalog::Image image = image_of(context, session.app, session.catalog, reference);
  // First the lease, then the look: gc beside us sees the one, or we see what it wrote.
  session.lease.emplace(store::Store(context.store_folder()), image.digest, "kiln deploy " + image.name());
  image = session.catalog.find(image.name());
  require_deployable(image);
  require_proofs(context, session.environment.deploy, image);
  deploy::Wanted wanted;
  wanted.names = session.names;
  wanted.fleet = session.fleet();
  wanted.deploy = session.environment.deploy;
  wanted.version = image.version;
  wanted.digest = image.digest;
  wanted.ami = publish(context, image, session.catalog, session.connection);
  return wanted;
}

int run_engine(Context& context, Session& session, bool json, const std::string& load_file,
               const std::function<deploy::Result(deploy::Engine&)>& body) {
  context.watch_interrupts();
  Progress progress(context, json, load_file);
  deploy::EngineOptions options;
  options.poll = session.connection.local() ? Duration(200) : Duration(5000);
  options.cancelled = &Context::interrupted();
  options.on_look = [&](const deploy::Moment& moment) { progress.show(moment); };
  if (json) {
    session.ledger.on_append([](const ledger::Entry& entry) { say(ledger::to_line(entry)); });
  }
  deploy::Engine engine(session.connection.client(), session.ledger, context.clock, context.random,
                        context.locks_folder(), options);
  deploy::Result result = body(engine);
  progress.end();
  if (result.exit() == 0) protect_way_back(session);
  if (!json) {
    say(fmt::format("{}  ({})", result.why, format_seconds(result.took)));
    if (!result.next.empty()) talk("  next: " + result.next);
  }
  return result.exit();
}

}  // namespace kiln::cli
