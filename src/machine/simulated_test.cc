// Simulated machines: they follow their policy and nothing else, in virtual time.
#include "machine/simulated.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kiln::machine {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class Simulated : public ::testing::Test {
 protected:
  Spec spec(int number) {
    Spec spec;
    spec.id = "i-" + std::to_string(number);
    spec.interface.address = "172.31.0." + std::to_string(number);
    return spec;
  }
  Done note(std::string name) {
    return [this, name](std::exception_ptr failure) {
      try {
        if (failure) std::rethrow_exception(failure);
        seen_.push_back(name);
      } catch (const Error& error) {
        seen_.push_back(name + " " + std::string(to_string(error.code())));
      }
    };
  }
  void listen() {
    machines_.on_exit([this](const Exit& exit) { seen_.push_back("exit " + exit.id + " " + exit.reason); });
  }

  Behaviour behaviour_;
  std::vector<std::string> seen_;
  host::SimulatedLoop loop_{Time(Duration(1'000'000))};
  host::SeededRandom random_{1};
  SimulatedMachines machines_{loop_, random_, [this](const Spec&, host::Random&) { return behaviour_; }};
};

TEST_F(Simulated, StartsThenServesThenEnds) {
  machines_.launch(spec(1), note("launched"));
  EXPECT_EQ(machines_.state("i-1"), State::starting);
  loop_.run_for(behaviour_.start);
  EXPECT_THAT(seen_, ElementsAre("launched"));
  EXPECT_EQ(machines_.http_status("i-1", 80, "/"), 0);
  loop_.run_for(behaviour_.serves);
  EXPECT_EQ(machines_.http_status("i-1", 80, "/"), 200);
  EXPECT_EQ(machines_.http_status_at("172.31.0.1", 80, "/"), 200);
  machines_.terminate("i-1", Duration(10'000), note("terminated"));
  loop_.run_for(behaviour_.stop);
  EXPECT_THAT(seen_, ElementsAre("launched", "terminated"));
  EXPECT_EQ(machines_.state("i-1"), State::gone);
  EXPECT_EQ(machines_.http_status("i-1", 80, "/"), -1);
}

TEST_F(Simulated, ADeadlineShortensAStop) {
  behaviour_.stop = Duration(60'000);
  machines_.launch(spec(1), note("launched"));
  loop_.run_for(Duration(1000));
  machines_.stop("i-1", Duration(2000), note("stopped"));
  loop_.run_for(Duration(1999));
  EXPECT_EQ(machines_.state("i-1"), State::stopping);
  loop_.run_for(Duration(1));
  EXPECT_EQ(machines_.state("i-1"), State::stopped);
  machines_.start("i-1", note("started"));
  loop_.run_for(behaviour_.start);
  EXPECT_THAT(seen_, ElementsAre("launched", "stopped", "started"));
}

TEST_F(Simulated, AFailedLaunchLeavesNothing) {
  behaviour_.launch_failure = "no space";
  machines_.launch(spec(1), note("launched"));
  loop_.run_for(Duration(1000));
  EXPECT_THAT(seen_, ElementsAre("launched io"));
  EXPECT_THAT(machines_.ids(), IsEmpty());
}

TEST_F(Simulated, DiesWhenThePolicySaysSo) {
  listen();
  behaviour_.dies = Duration(5000);
  machines_.launch(spec(1), note("launched"));
  loop_.run_for(behaviour_.start + Duration(5000));
  EXPECT_THAT(seen_, ElementsAre("launched", "exit i-1 powered off"));
  EXPECT_EQ(machines_.state("i-1"), State::stopped);
}

TEST_F(Simulated, TerminateOvertakesALaunch) {
  machines_.launch(spec(1), note("launched"));
  machines_.terminate("i-1", Duration(1000), note("terminated"));
  loop_.run_for(Duration(5000));
  EXPECT_THAT(seen_, ElementsAre("launched cancelled", "terminated"));
}

TEST_F(Simulated, RefusesWhatTheStateDoesNotAllow) {
  EXPECT_THROW(machines_.stop("i-1", Duration(0), nullptr), Error);
  machines_.launch(spec(1), note("launched"));
  EXPECT_THROW(machines_.stop("i-1", Duration(0), nullptr), Error);
  loop_.run_for(Duration(1000));
  EXPECT_THROW(machines_.start("i-1", nullptr), Error);
  EXPECT_DEATH(machines_.launch(spec(1), nullptr), "launched once");
}

TEST_F(Simulated, LiveOnWhenTheControlPlaneDiesAndAreAdopted) {
  behaviour_.dies = Duration(60'000);
  machines_.launch(spec(1), note("launched"));
  behaviour_.dies.reset();
  machines_.launch(spec(2), note("launched"));
  machines_.launch(spec(3), note("launched"));
  loop_.run_for(Duration(1000));
  machines_.launch(spec(4), note("never heard"));
  machines_.detach();
  loop_.run_for(Duration(120'000));
  listen();
  EXPECT_THAT(machines_.adopt({spec(1), spec(2), spec(4)}), ElementsAre("i-2", "i-4"));
  loop_.run_for(Duration(1));
  EXPECT_THAT(seen_, ElementsAre("launched", "launched", "launched", "exit i-1 powered off"));
  EXPECT_THAT(machines_.ids(), ElementsAre("i-1", "i-2", "i-4"));
}

TEST(SimulatedNetwork, LetsInWhatARuleAllows) {
  SimulatedNetwork network(3);
  network.open();
  Port port;
  port.id = "i-1";
  port.interface.address = "172.31.0.10";
  port.ingress = {{"tcp", 80, 90, {"172.31.0.0/16"}}};
  port.interface.vpc = "vpc-1";
  Vpc vpc;
  vpc.id = "vpc-1";
  vpc.ports = {port};
  std::vector<std::string> heard;
  network.on_change([&](const std::string& id, bool there) { heard.push_back((there ? "+" : "-") + id); });
  network.apply({vpc});
  network.apply({vpc});
  EXPECT_THAT(heard, ElementsAre("+vpc-1"));
  EXPECT_TRUE(network.lets_in("172.31.0.2", "172.31.0.10", 85));
  EXPECT_FALSE(network.lets_in("172.30.0.2", "172.31.0.10", 85));
  EXPECT_FALSE(network.lets_in("172.31.0.2", "172.31.0.10", 91));
  EXPECT_FALSE(network.lets_in("172.31.0.2", "172.31.0.11", 85));
  EXPECT_EQ(network.loopback_address(2), "127.77.3.2");
}

}  // namespace
}  // namespace kiln::machine
