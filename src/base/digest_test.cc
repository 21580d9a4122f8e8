// Digests against published vectors (FIPS 180-2 appendix B, RFC 4231).
#include "base/digest.h"

#include <gtest/gtest.h>

#include "base/encoding.h"
#include "base/error.h"

namespace kiln {

TEST(Digest, OfAbcIsThePublishedOne) {
  EXPECT_EQ(sha256("abc").str(), "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Digest, OfPiecesIsThatOfTheWhole) {
  Sha256 hash;
  hash.update("a");
  hash.update("");
  hash.update("bc");
  EXPECT_EQ(hash.finish(), sha256("abc"));
}

TEST(Digest, IsReadBackFromItsText) {
  Digest digest = sha256("x");
  EXPECT_EQ(Digest::parse(digest.str()), digest);
  EXPECT_EQ(digest.short_str(), digest.hex().substr(0, 12));
}

TEST(Digest, RefusesWhatIsNotOne) {
  std::string good = sha256("x").str();
  for (std::size_t cut = 0; cut < good.size(); ++cut) EXPECT_THROW(Digest::parse(good.substr(0, cut)), Error) << cut;
  EXPECT_THROW(Digest::parse(good + "0"), Error);
  EXPECT_THROW(Digest::parse("sha512" + good.substr(6)), Error);
  good[10] = 'G';
  EXPECT_THROW(Digest::parse(good), Error);
}

TEST(Hmac, MatchesRfc4231Case2) {
  auto mac = hmac_sha256("Jefe", "what do ya want for nothing?");
  EXPECT_EQ(hex_encode({reinterpret_cast<const char*>(mac.data()), mac.size()}),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

}  // namespace kiln
