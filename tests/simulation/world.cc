// World: how the region and the deployer live and die.
#include "world.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>

#include "base/error.h"
#include "deploy/destroy.h"
#include "deploy/publish.h"
#include "deploy/rollback.h"
#include "fleet/observe.h"
#include "wire/sigv4.h"

namespace kiln::simulation {
namespace {

constexpr const char* kAccessKey = "AKIASIMULATION000000";
constexpr const char* kSecretKey = "secret";
constexpr Duration kTick{100};
constexpr Duration kInterval{5'000};
constexpr Duration kTimeout{2'000};
// Two checks must fail, each of which may have begun just before.
constexpr Duration kDetection = 2 * kInterval + kTimeout + Duration(1'000);
// Longer than draining and stopping take.
constexpr Duration kSettling{60'000};
constexpr int kRunsMax = 100;

http::Response refusal(const http::Request& request, int status, const std::string& code) {
  const auto scope = wire::claimed_scope(request);
  const std::string error = fmt::format("<Error><Code>{}</Code><Message>simulated</Message></Error>", code);
  http::Response out;
  out.status = status;
  out.headers.add("Content-Type", "text/xml");
  out.body = scope && scope->service == "ec2"
                 ? fmt::format("<Response><Errors>{}</Errors><RequestID>r</RequestID></Response>", error)
                 : fmt::format("<ErrorResponse>{}<RequestId>r</RequestId></ErrorResponse>", error);
  return out;
}

bool is_read(const http::Request& request) { return request.body.find("Action=Describe") != std::string::npos; }

// A file system in memory: every append of the ledger is synced.
host::Path memory() { return std::filesystem::exists("/dev/shm") ? "/dev/shm" : ""; }

}  // namespace

World::World(const Settings& settings)
    : names(fleet::names_of("web", "")),
      size(settings.size),
      settings_(settings),
      folder_("kiln-simulation-", memory()),
      store_(folder_.path() / "store"),
      loop_(parse_iso8601("2026-11-24T03:00:00Z")),
      random_(settings.seed),
      machines_(loop_, random_,
                [this](const machine::Spec& spec, host::Random& random) { return behaviour(spec, random); }),
      balancer_(loop_),
      watch_(loop_, machines_, balancer_, kDetection),
      watched_(machines_, watch_) {
  network_.open();
  journal_.before_commit([this] {
    if (++commits_ != deaths_.commit) return;
    throw RegionDied{};
  });
  start_region();
  client_ = std::make_unique<aws::Client>(config(), *this, clock_, random_);
  tick();
}

World::~World() { stop_region(); }

aws::Config World::config() const {
  return aws::Config::load([](const std::string& name) -> std::string {
    if (name == "AWS_ACCESS_KEY_ID") return kAccessKey;
    if (name == "AWS_SECRET_ACCESS_KEY") return kSecretKey;
    if (name == "AWS_REGION") return "us-east-1";
    if (name == "AWS_ENDPOINT_URL") return "http://region.simulation";
    return name == "HOME" ? "/nonexistent" : "";
  });
}

machine::Behaviour World::behaviour(const machine::Spec& spec, host::Random& random) {
  machine::Behaviour out = machine::ordinary(spec, random);
  switch (moods_.at(version_of(spec))) {
    case Mood::good:
      break;
    case Mood::slow:
      out.serves = Duration(15'000);
      break;
    case Mood::answers_500:
      out.http = [](int, const std::string& path, Duration) { return path == kHealthPath ? 500 : 200; };
      break;
    case Mood::never_serves:
      out.serves = std::chrono::hours(24);
      break;
    case Mood::cannot_launch:
      out.launch_failure = "no space left on the simulated disk";
      break;
    case Mood::crashes:
      out.dies = Duration(2'000);
      break;
    case Mood::turns_bad:
      out.http = [](int, const std::string&, Duration serving) { return serving < Duration(20'000) ? 200 : 500; };
      break;
  }
  if (on_launch) on_launch(out);
  return out;
}

void World::start_region() {
  ++lives_;
  life_ = std::make_unique<region::testing::MortalLoop>(loop_);
  prober_ = std::make_unique<region::elb::SimulatedProber>(*life_, [this](const region::elb::Probe& probe) {
    return machines_.http_status_at(probe.address, probe.port, probe.path, probe.vpc);
  });
  region_ = std::make_unique<region::Partition>(
      region::PartitionParts{*life_, random_, journal_, store_, watched_, network_, balancer_, *prober_, log_, nullptr},
      region::PartitionOptions{"us-east-1", "123456789012", kAccessKey, kSecretKey});
  region_->open();
}

void World::stop_region() {
  region_.reset();
  prober_.reset();
  life_.reset();
  journal_.forget();
  machines_.detach();
}

void World::kill_region(Duration away) {
  ++region_deaths_;
  stop_region();
  if (away == Duration(0)) return start_region();
  ++lives_;
  loop_.after(away, [this] {
    if (!region_) start_region();
  });
}

void World::tick() {
  loop_.after(kTick, [this] { tick(); });
  watch_.check();
  if (on_tick) on_tick();
}

bool World::pump(const std::function<bool()>& done, Duration budget) {
  const Time until = loop_.now() + budget;
  for (;;) {
    try {
      return loop_.run_while_not(
          [&] {
            watch_.check_changes();
            return done();
          },
          until - loop_.now());
    } catch (const RegionDied&) {
      kill_region(away_after_death);
    }
  }
}

void World::pass(Duration time) {
  pump([] { return false; }, time);
}

http::Response World::send(const std::string&, const http::Request& request, const http::Timeouts& timeouts) {
  const bool changes = !is_read(request);
  if (changes && ++calls_ == deaths_.before_call) throw DeployerDied{};
  if (!region_) throw Error(ErrorCode::unavailable, "nobody answers at the region's address");
  const CallFault fault = on_call ? on_call(request) : CallFault::none;
  if (fault == CallFault::throttled) return refusal(request, 400, "Throttling");
  if (fault == CallFault::fails) return refusal(request, 503, "Unavailable");
  http::Request out = request;
  if (tamper) {
    const auto scope = wire::claimed_scope(request);
    tamper(out.body);
    if (scope && out.body != request.body) {
      out.headers = {};
      for (const auto& [name, value] : request.headers.fields()) {
        if (name == "Host" || name == "Content-Type") out.headers.add(name, value);
      }
      wire::sign(out, {kAccessKey, kSecretKey, ""}, *scope, clock_.now());
    }
  }
  auto answer = std::make_shared<std::optional<http::Response>>();
  const std::uint64_t life = lives_;
  region_->handle(std::move(out), [answer](http::Response response) { *answer = std::move(response); });
  const bool over = pump([&] { return answer->has_value() || lives_ != life; }, timeouts.total);
  if (!over) throw Error(ErrorCode::timeout, "the region did not answer in time");
  if (!answer->has_value()) throw Error(ErrorCode::unavailable, "the region died before it answered");
  if (changes && calls_ == deaths_.after_call) throw DeployerDied{};
  if (fault == CallFault::answer_lost) throw Error(ErrorCode::unavailable, "the connection broke before the answer");
  return **answer;
}

void World::publish(const std::string& version, Mood mood) {
  moods_[version] = mood;
  const std::string content = "web " + version;
  store::ImageConfig config;
  config.app = "web";
  config.history = {version};
  const store::Blob layer{store_.put(content), content.size(), std::string(store::kErofsLayerType)};
  const Digest digest = store_.add_image(config, {layer});
  deploy::PlacementRequest request;
  request.app = "web";
  request.version = version;
  request.digest = digest;
  deploy::Wanted& wanted = published_[version];
  wanted.names = names;
  wanted.version = version;
  wanted.digest = digest;
  wanted.ami = deploy::RegionPlacements(*client_, clock_).place(request);
  wanted.fleet.size = wanted.fleet.min = settings_.size;
  wanted.fleet.max = 2 * settings_.size;
  wanted.fleet.health.path = kHealthPath;
  wanted.fleet.health.interval = kInterval;
  wanted.fleet.health.timeout = kTimeout;
  wanted.fleet.drain = std::chrono::seconds(5);
  wanted.fleet.grace = std::chrono::seconds(30);
  wanted.deploy.bake = settings_.bake;
  wanted.deploy.rollback = settings_.rollback;
  wanted.deploy.timeout = std::chrono::minutes(15);
}

deploy::Wanted World::wanted(const std::string& version) { return published_.at(version); }

deploy::Result World::run_engine(const std::function<deploy::Result(deploy::Engine&)>& body) {
  ledger::Ledger ledger = open_ledger();
  ledger.on_append([this](const ledger::Entry&) {
    if (++appends_ == deaths_.append) throw DeployerDied{};
  });
  aws::Client client(config(), *this, clock_, random_);
  deploy::EngineOptions options;
  options.on_look = [this](const deploy::Moment& moment) {
    watch_.seen(moment.fleet);
    if (on_look) on_look(moment);
  };
  deploy::Engine engine(client, ledger, clock_, random_, folder_.path() / "locks", options);
  deploy::Result result = body(engine);
  if (result.outcome == deploy::Outcome::done) {
    watch_.arm(static_cast<std::size_t>(size), static_cast<std::size_t>(2 * size));
  }
  return result;
}

deploy::Result World::deploy(const deploy::Wanted& wanted, const std::string& verb) {
  return run_engine([&](deploy::Engine& engine) { return engine.run(wanted, verb); });
}

deploy::Result World::roll_back() {
  const deploy::Wanted now = published_.begin()->second;
  ledger::Ledger ledger = open_ledger();
  deploy::History history(ledger);
  if (auto unfinished = history.unfinished(names.app, names.environment); unfinished && unfinished->verb == "deploy") {
    return run_engine([&](deploy::Engine& engine) { return engine.go_back(now, "asked for by the test"); });
  }
  const fleet::Fleet fleet = fleet::look(*client_, names);
  const deploy::WayBack way = deploy::find_way_back(names, fleet, history, std::nullopt);
  deploy::prove(way, fleet);
  return deploy(deploy::wanted_of(way, names, now.fleet, now.deploy), "rollback");
}

void World::destroy() {
  watch_.disarm();
  ledger::Ledger ledger = open_ledger();
  deploy::destroy(*client_, ledger, clock_, folder_.path() / "locks", names);
}

deploy::Result World::whatever_happens(const std::function<deploy::Result()>& run) {
  for (int runs = 0; runs < kRunsMax; ++runs) {
    try {
      return run();
    } catch (const DeployerDied&) {
      ++deployer_deaths_;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::unavailable && error.code() != ErrorCode::timeout) throw;
      pass(std::chrono::seconds(10));
    }
  }
  throw Error(ErrorCode::timeout, fmt::format("not done after {} runs", kRunsMax));
}

deploy::Result World::deploy_whatever_happens(const std::string& version) {
  return whatever_happens([&] { return deploy(version); });
}

deploy::Result World::roll_back_whatever_happens() {
  const auto finished = [&] {
    ledger::Ledger ledger = open_ledger();
    std::vector<deploy::Deployment> out = deploy::History(ledger).list(names.app, names.environment);
    std::erase_if(out, [](const deploy::Deployment& one) { return one.verb != "rollback" || !one.outcome; });
    return out;
  };
  const std::size_t before = finished().size();
  return whatever_happens([&] {
    if (const auto all = finished(); all.size() > before) {
      deploy::Result result;
      result.id = all.back().id;
      result.outcome = *all.back().outcome;
      result.why = all.back().why;
      return result;
    }
    return roll_back();
  });
}

void World::plan_deaths(const Deaths& deaths) {
  deaths_ = deaths;
  appends_ = calls_ = commits_ = deployer_deaths_ = region_deaths_ = 0;
}

std::vector<std::string> World::running() const {
  std::vector<std::string> out;
  for (const std::string& id : machines_.ids()) {
    if (machines_.state(id) == machine::State::running) out.push_back(id);
  }
  return out;
}

void World::expect_all_on(const std::string& version) {
  pass(kSettling);
  EXPECT_THAT(watch_.serving(), ::testing::ElementsAre(::testing::Pair(version, static_cast<std::size_t>(size))));
  EXPECT_EQ(machines_.ids().size(), static_cast<std::size_t>(size)) << "machines are left over";
  expect_nothing_violated();
}

void World::expect_nothing_violated() const { EXPECT_THAT(watch_.violations(), ::testing::IsEmpty()); }

std::vector<std::string> World::ledger_kinds() {
  ledger::Ledger ledger = open_ledger();
  EXPECT_TRUE(ledger.verify().ok());
  std::vector<std::string> out;
  ledger::Query all;
  all.limit = 0;
  for (const ledger::Entry& entry : ledger.read(all)) out.push_back(entry.kind);
  return out;
}

int World::count_kind(const std::string& kind) {
  const auto kinds = ledger_kinds();
  return static_cast<int>(std::ranges::count(kinds, kind));
}

}  // namespace kiln::simulation
