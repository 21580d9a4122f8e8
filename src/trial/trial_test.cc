// Trial: which checks are made, what is waited for, and what is written down.
#include "trial/trial.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "ledger/ledger.h"
#include "trial/checks.h"

namespace kiln::trial {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// An instance that answers by script; time stands still but for what is slept.
class FakeStand final : public Stand {
 public:
  void boot() override {
    if (boot_failure) throw Error(*boot_failure);
  }
  machine::CommandEnd ask(const machine::Command& command) override {
    asked.push_back(command.script);
    if (dies) throw Error(ErrorCode::conflict, "the machine does not run: powered off");
    machine::CommandEnd end;
    end.how = machine::CommandEnd::How::exited;
    end.status = 0;
    if (command.script == kReadyQuestion) {
      end.out = "SystemState=" + state + "\nUserspaceTimestampMonotonic=1\nFinishTimestampMonotonic=2000001\n";
    } else if (command.script.find("systemctl show") != std::string::npos) {
      end.out =
          unit_looks-- > 0 ? "ActiveState=activating\nSubState=start\n" : "ActiveState=active\nSubState=running\n";
    } else if (command.script.find("smaps_rollup") != std::string::npos) {
      end.out = "1024\n";
    } else if (command.script.find("false") != std::string::npos) {
      end.status = 1;
    }
    return end;
  }
  http::Response fetch(int port, const http::Request& request, Duration) override {
    fetched.push_back(std::to_string(port) + request.path + "?" + request.query);
    if (http_looks-- > 0) throw Error(ErrorCode::unavailable, "nobody answers at http://172.31.0.10:80");
    http::Response response;
    response.status = 200;
    return response;
  }
  std::vector<std::string> secrets(const std::vector<std::string>&) const override { return {}; }
  std::string console() const override { return "one\ntwo\n"; }

  std::optional<Error> boot_failure;
  std::string state = "running";
  bool dies = false;
  int unit_looks = 0;
  int http_looks = 0;
  std::vector<std::string> asked;
  std::vector<std::string> fetched;
};

spec::ImageTest test_of(std::vector<spec::ImageCheck> checks) { return checks; }

class TrialTest : public testing::Test {
 protected:
  Report run(const spec::ImageTest& test) { return try_image(stand, clock, {}, test); }
  static std::vector<std::string> failed(const Report& report) {
    std::vector<std::string> names;
    for (const CheckResult& check : report.checks) {
      if (!check.passed) names.push_back(check.name);
    }
    return names;
  }
  host::SimulatedClock clock{parse_iso8601("2026-01-01T00:00:00Z")};
  FakeStand stand;
};

TEST_F(TrialTest, MakesEveryCheckAlsoAfterOneHasFailed) {
  const Report report = run(
      test_of({{{}, spec::RunCheck{{"false"}}}, {{}, spec::UnitCheck{"a.service"}}, {{}, spec::MemoryCheck{2 << 20}}}));
  EXPECT_FALSE(report.passed());
  EXPECT_THAT(failed(report), ElementsAre("run false"));
  ASSERT_EQ(report.checks.size(), 5U);
  EXPECT_EQ(report.checks[0].name, "boot");
  EXPECT_EQ(report.checks[0].said, "booted in 2.00 s");
  EXPECT_EQ(report.checks[1].name, "no failed units");
  EXPECT_EQ(report.checks[2].name, "run false");
  EXPECT_EQ(report.checks[4].name, "memory within 2.0 MiB");
  EXPECT_THAT(stand.asked[2], HasSubstr("smaps_rollup"));  // measured before anything else was run
  EXPECT_EQ(report.console, "one\ntwo");
}

TEST_F(TrialTest, WaitsForWhatIsOnItsWay) {
  stand.unit_looks = 5;
  stand.http_looks = 5;
  spec::HttpCheck http;
  http.path = "/a?b=c";
  EXPECT_TRUE(run(test_of({{{}, spec::UnitCheck{"a.service"}}, {{}, http}})).passed());
  EXPECT_EQ(stand.fetched.back(), "80/a?b=c");
  stand.unit_looks = 1000;
  stand.http_looks = 1000;
  const Report late = run(test_of({{{}, spec::UnitCheck{"a.service"}}, {{}, http}}));
  EXPECT_EQ(late.failed(), 2U);
  EXPECT_THAT(late.checks.back().said, HasSubstr("nobody answers"));
  EXPECT_LE(late.took, Duration(21'000));
}

TEST_F(TrialTest, OfAMachineThatEndsIsAFailureWithItsReason) {
  stand.dies = true;
  const Report report = run(test_of({{{}, spec::UnitCheck{"a.service"}}}));
  EXPECT_FALSE(report.passed());
  EXPECT_THAT(report.checks[0].said, HasSubstr("powered off"));
}

TEST_F(TrialTest, OfAnImageThatCannotBeStartedIsTheHostsFailure) {
  stand.boot_failure.emplace(ErrorCode::disk_full, "no space");
  EXPECT_THROW(run({}), Error);
}

TEST_F(TrialTest, OfASystemThatGoesDownIsAFailure) {
  stand.state = "stopping";
  const Report report = run({});
  EXPECT_THAT(failed(report), ElementsAre("boot"));
  EXPECT_EQ(report.checks[0].said, "systemd says 'stopping'");
}

TEST_F(TrialTest, IsWrittenDownByTheImagesDigest) {
  const host::TemporaryFolder folder("kiln-trial");
  ledger::Ledger ledger(folder.path(), clock, "me@here");
  const Digest digest = sha256("image"), other = sha256("other");
  const spec::ImageTest test = test_of({{{}, spec::RunCheck{{"false"}}}});
  EXPECT_FALSE(verdict_of(ledger, "web", digest));
  record(ledger, "web", "1.0.0", digest, test, run(test));
  auto verdict = verdict_of(ledger, "web", digest);
  ASSERT_TRUE(verdict);
  EXPECT_FALSE(verdict->passed);
  EXPECT_THAT(verdict->failed, ElementsAre("run false"));
  EXPECT_EQ(verdict->test, fingerprint(test));
  EXPECT_FALSE(verdict_of(ledger, "web", other));
  EXPECT_FALSE(verdict_of(ledger, "shop", digest));
  record(ledger, "web", "1.0.0", digest, {}, run({}));
  EXPECT_TRUE(verdict_of(ledger, "web", digest)->passed);
}

TEST_F(TrialTest, HasAFingerprintOfItsChecks) {
  const spec::ImageTest one = test_of({{{}, spec::RunCheck{{"true"}}}});
  EXPECT_EQ(fingerprint(one), fingerprint(test_of({{{1, 2}, spec::RunCheck{{"true"}}}})));
  EXPECT_NE(fingerprint(one), fingerprint(test_of({{{}, spec::RunCheck{{"true"}, 1}}})));
  EXPECT_NE(fingerprint(one), fingerprint({}));
}

TEST_F(TrialTest, IsReadByOthersAsJUnitAndJson) {
  Report report;
  report.checks = {{"run a && b", true, "", Duration(1500)},
                   {"file <x>", false, "it's \"not\"\nthere\x01", Duration(7)}};
  const std::string xml = to_junit(report, "web@1.0.0");
  EXPECT_THAT(xml, HasSubstr("<testsuite name=\"web@1.0.0\" tests=\"2\" failures=\"1\""));
  EXPECT_THAT(xml, HasSubstr("<testcase classname=\"web@1.0.0\" name=\"run a &amp;&amp; b\" time=\"1.500\"/>"));
  EXPECT_THAT(xml, HasSubstr("<failure message=\"it's &quot;not&quot;\">it's &quot;not&quot;\nthere?</failure>"));
  EXPECT_EQ(to_json(report)["checks"][1]["passed"], false);
  EXPECT_EQ(to_json(report)["checks"][0]["duration_ms"], 1500);
}

}  // namespace
}  // namespace kiln::trial
