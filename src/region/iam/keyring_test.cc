// Tests of the keyring and of ids: key ids that encode an account, root keys that are derived.
#include "region/iam/keyring.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "host/random.h"

namespace kiln::region::iam {
namespace {

using ::testing::MatchesRegex;

TEST(AccessKeyIds, EncodeTheirAccountAsAwsDoes) {
  // Key ids of AWS's and their accounts, from Tal Be'ery, "A short note on AWS KEY ID" (2023).
  EXPECT_EQ(account_of("ASIAQNZGKIQY56JQ7WML"), "029608264753");
  EXPECT_EQ(account_of("AKIAQYLPMN5HFIQR7XYA"), "052310077262");
  host::SeededRandom random(1);
  for (const char* account : {"000000000000", "123456789012", "210987654321", "999999999999"}) {
    std::set<std::string> ids;
    for (int i = 0; i < 100; ++i) {
      std::string id = access_key_id("AKIA", account, random.next());
      EXPECT_THAT(id, MatchesRegex("AKIA[A-Z2-7]{16}"));
      EXPECT_EQ(account_of(id), account);
      ids.insert(id);
    }
    EXPECT_EQ(ids.size(), 100u);
  }
}

TEST(AccessKeyIds, OfAnotherFormEncodeNone) {
  for (const char* id :
       {"", "AKIA", "AKIDEXAMPLE", "AKIA0123456789ABCDEF", "AKIA//////////////==", "AKIA7777777777777777"}) {
    EXPECT_EQ(account_of(id), std::nullopt) << id;
  }
}

TEST(Keyring, EveryAccountHasARootKeyWithoutBeingMade) {
  const Keyring ring("seed");
  const wire::Credentials root = root_credentials("seed", "210987654321");
  const std::optional<Key> found = ring.find(root.access_key);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->secret.secret_key, root.secret_key);
  EXPECT_EQ(root.secret_key.size(), 40u);
  EXPECT_EQ(found->principal.arn, "arn:aws:iam::210987654321:root");
  EXPECT_EQ(found->principal.user_id, "210987654321");
  EXPECT_NE(root.secret_key, root_credentials("seed", "210987654322").secret_key);
}

TEST(Keyring, AnotherSeedHasOtherKeysAndNoneHasNone) {
  const wire::Credentials root = root_credentials("seed", "210987654321");
  EXPECT_FALSE(Keyring("another").find(root.access_key));
  EXPECT_FALSE(Keyring("").find(root_credentials("", "210987654321").access_key));
}

TEST(Keyring, GivesWhatWasPutUntilItIsErased) {
  Keyring ring;
  ring.put("AKIDEXAMPLE", {{"secret", "token", std::nullopt}, root_of("123456789012")});
  ASSERT_TRUE(ring.find("AKIDEXAMPLE"));
  EXPECT_EQ(ring.find("AKIDEXAMPLE")->secret.session_token, "token");
  ring.erase("AKIDEXAMPLE");
  EXPECT_FALSE(ring.find("AKIDEXAMPLE"));
}

TEST(Keyring, IsReadWhileItIsWritten) {
  Keyring ring("seed");
  std::thread reader([&] {
    for (int i = 0; i < 10'000; ++i) {
      const auto key = ring.find("AKIDEXAMPLE");
      EXPECT_TRUE(!key || key->secret.secret_key == key->principal.user_id);
    }
  });
  for (int i = 0; i < 10'000; ++i) {
    const std::string text(static_cast<std::size_t>(i % 64), 'x');
    ring.put("AKIDEXAMPLE", {{text, "", std::nullopt}, {"123456789012", "arn", text, "", false}});
    if (i % 3 == 0) ring.erase("AKIDEXAMPLE");
  }
  reader.join();
}

}  // namespace
}  // namespace kiln::region::iam
