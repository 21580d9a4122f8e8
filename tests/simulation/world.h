// World: a region on simulated machines and a deployer that calls it, in one thread and virtual time. Either may be
// killed at any of its steps, and goes on from what it had written down.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "aws/client.h"
#include "deploy/engine.h"
#include "deploy/wanted.h"
#include "host/file.h"
#include "host/loop.h"
#include "host/random.h"
#include "http/transport.h"
#include "ledger/ledger.h"
#include "machine/simulated.h"
#include "region/elb/simulated_balancer.h"
#include "region/elb/simulated_prober.h"
#include "region/journal.h"
#include "region/partition.h"
#include "region/testing/mortal_loop.h"
#include "store/store.h"
#include "watch.h"

namespace kiln::simulation {

// What the machines of a version do.
enum class Mood {
  good,
  slow,           // serves 15 s after its start
  answers_500,    // on its health path
  never_serves,   // connections are refused for ever
  cannot_launch,  // the machine does not start
  crashes,        // ends 2 s after its start
  turns_bad,      // serves for 20 s, then answers 500
};

struct Settings {
  std::uint64_t seed = 1;
  int size = 2;
  Duration bake{};
  spec::Rollback rollback = spec::Rollback::automatic;
};

enum class CallFault {
  none,
  throttled,    // the region answers RequestLimitExceeded
  fails,        // the region answers 503
  answer_lost,  // it takes effect, and its caller only sees a connection that breaks
};

// Not Errors: nobody may catch them but the test.
struct DeployerDied {};
struct RegionDied {};

// At which of its steps, counted from 1, something dies; 0: never.
struct Deaths {
  int append = 0;       // the deployer, once that entry is in the ledger
  int before_call = 0;  // the deployer, before that call goes out; only calls that change something count
  int after_call = 0;   // the deployer, when its answer is there and before it was read
  int commit = 0;       // the region, before that commit of its journal
};

class World final : public http::Transport {
 public:
  explicit World(const Settings& settings = {});
  ~World() override;

  // An image of that version, placed in the region.
  void publish(const std::string& version, Mood mood = Mood::good);
  deploy::Wanted wanted(const std::string& version);

  // One run of the program `kiln deploy`, as a process: what it knows is what is in the ledger.
  deploy::Result deploy(const std::string& version) { return deploy(wanted(version)); }
  deploy::Result deploy(const deploy::Wanted& wanted, const std::string& verb = "deploy");
  // `kiln rollback`.
  deploy::Result roll_back();
  void destroy();
  // Runs it again each time that it dies, and each time that nobody answers at its beginning.
  deploy::Result deploy_whatever_happens(const std::string& version);
  // The same for `kiln rollback`; one that died when it had finished is not begun again.
  deploy::Result roll_back_whatever_happens();

  // Counts begin anew.
  void plan_deaths(const Deaths& deaths);
  bool died() const { return deployer_deaths_ + region_deaths_ > 0; }
  int appends() const { return appends_; }
  int calls() const { return calls_; }
  int commits() const { return commits_; }

  void pass(Duration time);
  void kill_machine(const std::string& id) { machines_.kill(id, "killed by signal 9"); }
  // Dies where it stands, and comes back on the same journal after that time. Not from within a task of the region.
  void kill_region(Duration away = Duration(0));
  std::vector<std::string> running() const;

  // Every 100 ms of virtual time; may throw RegionDied.
  std::function<void()> on_tick;
  // Changes what a machine of any version does.
  std::function<void(machine::Behaviour&)> on_launch;
  // Changes the body of a call on its way, and it is signed anew.
  std::function<void(std::string& body)> tamper;
  // What becomes of a call on its way; null: it arrives and is answered.
  std::function<CallFault(const http::Request& request)> on_call;
  // How long the region is away after a RegionDied.
  Duration away_after_death{};
  std::function<void(const deploy::Moment&)> on_look;

  // Once nothing is under way: this version, and no other, serves on all instances, and nothing was violated.
  void expect_all_on(const std::string& version);
  void expect_nothing_violated() const;
  // Kinds of all entries in order, after the whole ledger was verified.
  std::vector<std::string> ledger_kinds();
  int count_kind(const std::string& kind);

  http::Response send(const std::string& origin, const http::Request& request, const http::Timeouts& timeouts) override;
  aws::Client& client() { return *client_; }
  ledger::Ledger open_ledger() { return ledger::Ledger(folder_.path() / "ledger", clock_, "tester@simulation"); }
  host::SimulatedLoop& loop() { return loop_; }
  host::SeededRandom& random() { return random_; }
  host::Clock& clock() { return clock_; }
  Watch& watch() { return watch_; }
  const fleet::Names names;
  const int size;

 private:
  // Waiting is what lets the world go on.
  class WorldClock final : public host::Clock {
   public:
    explicit WorldClock(World& world) : world_(world) {}
    Time now() const override { return world_.loop_.simulated_clock().now(); }
    Duration uptime() const override { return world_.loop_.simulated_clock().uptime(); }
    void sleep(Duration duration) override { world_.pass(duration); }

   private:
    World& world_;
  };

  bool pump(const std::function<bool()>& done, Duration budget);
  void tick();
  void start_region();
  void stop_region();
  machine::Behaviour behaviour(const machine::Spec& spec, host::Random& random);
  deploy::Result run_engine(const std::function<deploy::Result(deploy::Engine&)>& body);
  deploy::Result whatever_happens(const std::function<deploy::Result()>& run);
  aws::Config config() const;

  const Settings settings_;
  host::TemporaryFolder folder_;
  store::Store store_;
  host::SimulatedLoop loop_;
  WorldClock clock_{*this};
  host::SeededRandom random_;
  std::map<std::string, Mood> moods_;
  std::map<std::string, deploy::Wanted> published_;

  // What outlives the region's process.
  region::MemoryJournal journal_;
  machine::SimulatedMachines machines_;
  machine::SimulatedNetwork network_;
  region::elb::SimulatedBalancer balancer_;
  Watch watch_;
  WatchedMachines watched_;
  region::RequestLog log_;
  // The region's process.
  std::unique_ptr<region::testing::MortalLoop> life_;
  std::unique_ptr<region::elb::SimulatedProber> prober_;
  std::unique_ptr<region::Partition> region_;

  std::unique_ptr<aws::Client> client_;
  Deaths deaths_;
  int appends_ = 0, calls_ = 0, commits_ = 0;
  int deployer_deaths_ = 0, region_deaths_ = 0;
  std::uint64_t lives_ = 0;
};

}  // namespace kiln::simulation
