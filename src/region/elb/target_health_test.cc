// Target health: tests, one rule of AWS each.
#include "region/elb/target_health.h"

#include <gtest/gtest.h>

namespace kiln::region::elb {
namespace {

constexpr Duration kRetry{150};
const Time kStart = parse_iso8601("2026-11-24T03:00:00Z");

ProbeResult answer(int status) { return {ProbeResult::Kind::answered, status}; }
const ProbeResult kRefused{ProbeResult::Kind::refused, 0};
const ProbeResult kTimeout{ProbeResult::Kind::timed_out, 0};

struct Checked {
  HealthCheck check;
  CheckProgress progress = begin_checks(kStart);
  Time now = kStart;
  Duration wait{0};

  // Tells the result and moves the clock on to the next probe.
  TargetState tell(const ProbeResult& result) {
    on_probe_sent(progress);
    wait = on_probe_result(progress, check, result, now, kRetry);
    now += wait;
    return progress.state;
  }
};

TEST(TargetHealth, ANewTargetNeedsOneSuccessOnly) {
  Checked target;
  target.check.healthy_threshold = 5;
  EXPECT_EQ(target.progress.reason, "Elb.RegistrationInProgress");
  EXPECT_EQ(target.tell(answer(200)), TargetState::healthy);
  EXPECT_EQ(target.progress.reason, "");
  EXPECT_EQ(target.wait, Duration(30'000));
}

TEST(TargetHealth, AnUnhealthyTargetNeedsTheHealthyThreshold) {
  Checked target;
  target.check.healthy_threshold = 3;
  target.tell(answer(500));
  ASSERT_EQ(target.tell(answer(500)), TargetState::unhealthy);
  EXPECT_EQ(target.tell(answer(200)), TargetState::unhealthy);
  EXPECT_EQ(target.tell(answer(200)), TargetState::unhealthy);
  EXPECT_EQ(target.tell(answer(200)), TargetState::healthy);
}

TEST(TargetHealth, AFailureBetweenSuccessesBeginsTheCountAgain) {
  Checked target;
  target.check.healthy_threshold = 2;
  target.tell(answer(500));
  target.tell(answer(500));
  target.tell(answer(200));
  target.tell(answer(500));
  EXPECT_EQ(target.tell(answer(200)), TargetState::unhealthy);
  EXPECT_EQ(target.tell(answer(200)), TargetState::healthy);
}

TEST(TargetHealth, AHealthyTargetStaysSoUntilTheUnhealthyThreshold) {
  Checked target;
  target.check.unhealthy_threshold = 3;
  target.tell(answer(200));
  EXPECT_EQ(target.tell(answer(503)), TargetState::healthy);
  EXPECT_EQ(target.tell(kTimeout), TargetState::healthy);
  EXPECT_EQ(target.tell(answer(503)), TargetState::unhealthy);
  EXPECT_EQ(target.progress.reason, "Target.ResponseCodeMismatch");
  EXPECT_EQ(target.progress.description, "Health checks failed with these codes: [503]");
}

TEST(TargetHealth, SaysTimeoutAndFailedChecksByTheirReasonCodes) {
  Checked slow;
  slow.tell(kTimeout);
  EXPECT_EQ(slow.progress.reason, "Elb.InitialHealthChecking");
  EXPECT_EQ(slow.tell(kTimeout), TargetState::unhealthy);
  EXPECT_EQ(slow.progress.reason, "Target.Timeout");
  EXPECT_EQ(slow.progress.description, "Request timed out");
  EXPECT_EQ(slow.tell({ProbeResult::Kind::broken, 0}), TargetState::unhealthy);
  EXPECT_EQ(slow.progress.reason, "Target.FailedHealthChecks");
}

TEST(TargetHealth, RefusalsOfANewTargetAreRetriedQuicklyAndCountOncePerInterval) {
  Checked target;
  target.check.interval_seconds = 5;
  target.check.unhealthy_threshold = 2;
  EXPECT_EQ(target.tell(kRefused), TargetState::initial);
  EXPECT_EQ(target.wait, kRetry);
  int probes = 0;
  while (target.tell(kRefused) == TargetState::initial) ASSERT_LT(++probes, 1000);
  // Two failures counted, an interval apart.
  EXPECT_GE(target.progress.counted - kStart, Duration(10'000));
  EXPECT_LT(target.progress.counted - kStart, Duration(10'400));
  EXPECT_EQ(target.wait, Duration(5'000)) << "an unhealthy target is asked at the interval";
}

TEST(TargetHealth, AnErrorAnswerOfANewTargetCountsAndWaitsForTheInterval) {
  Checked target;
  EXPECT_EQ(target.tell(answer(500)), TargetState::initial);
  EXPECT_EQ(target.wait, Duration(30'000));
  EXPECT_EQ(target.tell(answer(500)), TargetState::unhealthy);
}

TEST(TargetHealth, QuickRetriesSlowDownAfterAMinute) {
  Checked target;
  target.check.interval_seconds = 300;
  while (target.now - kStart < Duration(60'000)) target.tell(kRefused);
  target.tell(kRefused);
  EXPECT_EQ(target.wait, Duration(1'000));
}

TEST(Matcher, TakesCodesListsAndRanges) {
  EXPECT_TRUE(Matcher::parse("200")->matches(200));
  EXPECT_FALSE(Matcher::parse("200")->matches(201));
  EXPECT_TRUE(Matcher::parse("200-299")->matches(204));
  EXPECT_TRUE(Matcher::parse("200,302")->matches(302));
  EXPECT_FALSE(Matcher::parse("200,302")->matches(301));
  for (const char* bad : {"", "199", "200-500", "299-200", "2xx", "200,", "200-"})
    EXPECT_FALSE(Matcher::parse(bad)) << bad;
}

TEST(SlowStart, GrowsLinearlyToTheFullShare) {
  EXPECT_EQ(slow_start_share(Duration(0), Duration(30'000)), 1);
  EXPECT_EQ(slow_start_share(Duration(15'000), Duration(30'000)), 50);
  EXPECT_EQ(slow_start_share(Duration(30'000), Duration(30'000)), 100);
  EXPECT_EQ(slow_start_share(Duration(5), Duration(0)), 100);
}

}  // namespace
}  // namespace kiln::region::elb
