// Slots: tested in a folder of their own, with lock files and owner files as on a host.
#include "machine/slots.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "base/testing/errors.h"

namespace kiln::machine {
namespace {

using testing::failure;

class Slots : public ::testing::Test {
 protected:
  Slots() {
    host::make_folders(options_.folder);
    host::make_folders(options_.namespaces);
  }
  host::Path region(const std::string& name) {
    host::make_folders(folder_.path() / name);
    return folder_.path() / name;
  }
  Slot take(const std::string& name) { return Slot::take(region(name), "test", Time{}, options_); }

  host::TemporaryFolder folder_{"slots"};
  SlotOptions options_{folder_.path() / "slots", folder_.path() / "netns"};
};

TEST_F(Slots, TwoRegionsSideBySideHaveTwoNumbers) {
  const Slot a = take("a");
  const Slot b = take("b");
  EXPECT_EQ(a.number(), 0);
  EXPECT_EQ(b.number(), 1);
  EXPECT_EQ(b.name(), "kiln1");
  EXPECT_EQ(b.loopback_address(7), "127.77.1.7");
}

TEST_F(Slots, OneThatSomebodyIsJustTakingIsNobodyElses) {
  const host::FileLock taking = host::FileLock::take(options_.folder / "0", "another region", Time{});
  EXPECT_EQ(take("a").number(), 1);
}

TEST_F(Slots, ARegionThatDiedGetsItsSlotAgainAndNobodyElseDoes) {
  { const Slot dies = take("a"); }
  EXPECT_EQ(take("b").number(), 1);
  EXPECT_EQ(take("a").number(), 0);
}

TEST_F(Slots, TheOwnersLivingTwinIsRefused) {
  const Slot first = take("a");
  const Error error = failure([&] { take("a"); });
  EXPECT_EQ(error.code(), ErrorCode::held);
}

TEST_F(Slots, LeaveNoFileBehindOnceTheLastIsReleased) {
  Slot a = take("a");
  Slot b = take("b");
  a.release();
  EXPECT_EQ(host::list_folder(options_.folder), (std::vector<std::string>{"1", "1.owner"}));
  b.release();
  EXPECT_FALSE(std::filesystem::exists(options_.folder));
  EXPECT_EQ(take("b").number(), 0);
}

TEST_F(Slots, AReleasedSlotIsFree) {
  Slot a = take("a");
  a.release();
  EXPECT_EQ(take("b").number(), 0);
}

TEST_F(Slots, AreTidiedOfADeathBeforeTheyHadAnOwner) {
  Slot a = take("a");
  { const Slot dies = take("b"); }
  std::filesystem::rename(options_.folder / "1.owner", options_.folder / "1.owner.77.tmp");
  Slot::tidy("test", Time{}, options_);
  EXPECT_THAT(host::list_folder(options_.folder), ::testing::UnorderedElementsAre("0", "0.owner"));
  a.release();
  EXPECT_FALSE(std::filesystem::exists(options_.folder));
}

TEST_F(Slots, AnOwnerWhoseFolderIsGoneIsForgottenWhenItsNamesAreGoneToo) {
  { const Slot dies = take("a"); }
  host::remove_tree(folder_.path() / "a");
  host::write_file(options_.namespaces / "kiln0-vpc-1", "");
  EXPECT_EQ(take("b").number(), 1);
  host::remove_tree(options_.namespaces / "kiln0-vpc-1");
  EXPECT_EQ(take("c").number(), 0);
}

TEST_F(Slots, InUseAreSeenWithTheirOwnerTheirHolderAndTheirNames) {
  const Slot lives = take("a");
  { const Slot dies = take("b"); }
  host::write_file(options_.namespaces / "kiln1-vpc-1", "");
  host::write_file(options_.namespaces / "kiln1-i-1", "");
  host::write_file(options_.namespaces / "kiln12-vpc-1", "");
  host::write_file(options_.namespaces / "somebody-else", "");
  const std::vector<SlotUse> uses = slots_in_use(options_);
  ASSERT_EQ(uses.size(), 3u);
  EXPECT_EQ(uses[0].owner, region("a"));
  ASSERT_TRUE(uses[0].holder);
  EXPECT_EQ(uses[0].holder->what, "test");
  EXPECT_FALSE(uses[0].left());
  EXPECT_EQ(uses[1].owner, region("b"));
  EXPECT_EQ(uses[1].namespaces, (std::vector<std::string>{"kiln1-i-1", "kiln1-vpc-1"}));
  EXPECT_FALSE(uses[1].left()) << "its owner can come back";
  EXPECT_EQ(uses[2].slot, 12);
  EXPECT_TRUE(uses[2].left());
}

TEST_F(Slots, OnlyOneThatIsLeftCanBeTakenToRemoveIt) {
  const Slot lives = take("a");
  { const Slot dies = take("b"); }
  EXPECT_FALSE(Slot::take_left(0, "test", Time{}, options_)) << "somebody holds it";
  EXPECT_FALSE(Slot::take_left(1, "test", Time{}, options_)) << "its owner's folder is there";
  EXPECT_FALSE(Slot::take_left(2, "test", Time{}, options_)) << "there is nothing of it";
  host::remove_tree(folder_.path() / "b");
  auto slot = Slot::take_left(1, "test", Time{}, options_);
  ASSERT_TRUE(slot);
  EXPECT_FALSE(Slot::take_left(1, "test", Time{}, options_)) << "it is held now";
  slot->release();
  EXPECT_EQ(slots_in_use(options_).size(), 1u);
}

TEST_F(Slots, AllTakenIsAnErrorThatSaysSo) {
  std::vector<Slot> all;
  for (int i = 0; i < kSlots; ++i) all.push_back(take("r" + std::to_string(i)));
  const Error error = failure([&] { take("one more"); });
  EXPECT_EQ(error.code(), ErrorCode::held);
  EXPECT_NE(error.message().find("200"), std::string::npos);
}

TEST(LoopbackAddress, HasABound) {
  EXPECT_EQ(slot_loopback_address(199, 254), "127.77.199.254");
  EXPECT_THROW(slot_loopback_address(0, 255), Error);
  EXPECT_THROW(slot_loopback_address(0, 0), Error);
}

}  // namespace
}  // namespace kiln::machine
