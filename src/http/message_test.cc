// Headers and dates.
#include "http/message.h"

#include <gtest/gtest.h>

#include "http/date.h"

namespace kiln::http {
namespace {

TEST(Headers, AreFoundWithoutRegardToCase) {
  Headers headers;
  headers.add("Content-Type", "text/xml");
  EXPECT_EQ(headers.get("content-type"), "text/xml");
  EXPECT_TRUE(headers.has("CONTENT-TYPE"));
  EXPECT_FALSE(headers.has("Content-Typ"));
  EXPECT_EQ(headers.get("Host"), "");
}

TEST(Headers, SetReplacesEveryFieldOfThatNameInItsPlace) {
  Headers headers;
  headers.add("A", "1");
  headers.add("B", "2");
  headers.add("a", "3");
  headers.set("A", "4");
  using Fields = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(headers.fields(), (Fields{{"A", "4"}, {"B", "2"}}));
  headers.set("C", "5");
  EXPECT_EQ(headers.get("C"), "5");
}

TEST(HttpDate, IsWrittenAndReadAsTheRfcSays) {
  const Time time = parse_iso8601("1994-11-06T08:49:37Z");
  EXPECT_EQ(format_date(time), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(parse_date("Sun, 06 Nov 1994 08:49:37 GMT"), time);
}

TEST(HttpDate, RefusesWhatIsNoDate) {
  const std::string date = "Sun, 06 Nov 1994 08:49:37 GMT";
  for (std::size_t size = 0; size < date.size(); ++size) {
    EXPECT_EQ(parse_date(date.substr(0, size)), std::nullopt) << size;
  }
  EXPECT_EQ(parse_date("Sun, 31 Feb 1994 08:49:37 GMT"), std::nullopt);
  EXPECT_EQ(parse_date("Sun, 06 Nix 1994 08:49:37 GMT"), std::nullopt);
}

}  // namespace
}  // namespace kiln::http
