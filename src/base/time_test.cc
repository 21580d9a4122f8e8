// Times and spans both ways.
#include "base/time.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace kiln {

TEST(Time, GoesBothWays) {
  Time time = parse_iso8601("2026-11-24T03:01:56.789Z");
  EXPECT_EQ(format_iso8601(time), "2026-11-24T03:01:56.789Z");
  EXPECT_EQ(format_basic_iso8601(time), "20261124T030156Z");
  EXPECT_EQ(parse_basic_iso8601("20261124T030156Z"), time - Duration(789));
  EXPECT_EQ(format_date(time), "20261124");
}

TEST(Time, ReadsOffsetsAndFractions) {
  EXPECT_EQ(parse_iso8601("2026-11-24T04:01:56+01:00"), parse_iso8601("2026-11-24T03:01:56Z"));
  EXPECT_EQ(parse_iso8601("2026-11-24T03:01:56.123456Z"), parse_iso8601("2026-11-24T03:01:56.123Z"));
}

TEST(Time, RefusesEveryTruncationAndImpossibleDates) {
  std::string good = "2026-11-24T03:01:56.789Z";
  for (std::size_t cut = 0; cut < good.size(); ++cut) EXPECT_THROW(parse_iso8601(good.substr(0, cut)), Error) << cut;
  EXPECT_THROW(parse_iso8601("2026-02-30T00:00:00Z"), Error);
  EXPECT_THROW(parse_iso8601("2026-01-01T24:00:00Z"), Error);
  EXPECT_THROW(parse_iso8601(good + "x"), Error);
}

TEST(Duration, GoesBothWays) {
  for (const char* text : {"250ms", "5s", "2m", "1h", "2d", "1m30s", "1d2h3m4s5ms", "0s"}) {
    EXPECT_EQ(format_duration(parse_duration(text)), text);
  }
}

TEST(Duration, RefusesNumbersWithoutUnitAndNonsense) {
  for (const char* bad : {"", "5", "s", "5x", "5s5", "-5s", "1.5s", "99999999999999d", "5 s"}) {
    EXPECT_THROW(parse_duration(bad), Error) << bad;
  }
}

TEST(Duration, IsShownToPeople) {
  EXPECT_EQ(format_elapsed(Duration(21'400)), "00:00:21");
  EXPECT_EQ(format_seconds(Duration(340)), "340 ms");
  EXPECT_EQ(format_seconds(Duration(1250)), "1.25 s");
}

}  // namespace kiln
