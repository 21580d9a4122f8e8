// Encodings both ways, and what they refuse.
#include "base/encoding.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace kiln {

TEST(Base64, MatchesRfc4648) {
  const std::pair<const char*, const char*> cases[] = {{"", ""},
                                                       {"f", "Zg=="},
                                                       {"fo", "Zm8="},
                                                       {"foo", "Zm9v"},
                                                       {"foob", "Zm9vYg=="},
                                                       {"fooba", "Zm9vYmE="},
                                                       {"foobar", "Zm9vYmFy"}};
  for (auto [plain, coded] : cases) {
    EXPECT_EQ(base64_encode(plain), coded);
    EXPECT_EQ(base64_decode(coded), plain);
  }
}

TEST(Base64, RefusesWhatIsNotBase64) {
  for (const char* bad : {"Z", "Zg=", "Zg", "Z===", "Zg==Zg==", "Zm9*", "=", "Zg=x"}) {
    EXPECT_THROW(base64_decode(bad), Error) << bad;
  }
}

TEST(Hex, GoesBothWaysAndRefusesOthers) {
  EXPECT_EQ(hex_encode(std::string("\x00\xff", 2)), "00ff");
  EXPECT_EQ(hex_decode("00fF"), std::string("\x00\xff", 2));
  EXPECT_THROW(hex_decode("0"), Error);
  EXPECT_THROW(hex_decode("0g"), Error);
}

TEST(Percent, EncodesAsSigV4Wants) {
  EXPECT_EQ(percent_encode("a b/c~d*é"), "a%20b%2Fc~d%2A%C3%A9");
  EXPECT_EQ(percent_encode("/a b", true), "/a%20b");
}

TEST(Percent, DecodesAndLeavesBrokenEscapes) {
  EXPECT_EQ(percent_decode("a%20b+c%2", false), "a b+c%2");
  EXPECT_EQ(percent_decode("a+b%zz", true), "a b%zz");
}

}  // namespace kiln
