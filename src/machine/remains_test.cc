// Remains: in words, and of a folder that has none.
#include "machine/remains.h"

#include <gtest/gtest.h>

#include "machine/checks.h"
#include "machine/slots.h"

namespace kiln::machine {
namespace {

TEST(Remains, AreCountedInWords) {
  Remains remains;
  EXPECT_EQ(describe(remains), "nothing");
  remains.machines = {"i-1"};
  remains.mounts = {"/a", "/b"};
  remains.cgroups = {"/c"};
  EXPECT_EQ(describe(remains), "1 machine, 2 mounts, 1 cgroup");
}

TEST(Remains, OfAFolderAndASlotThatNobodyUsesAreNone) {
  const host::TemporaryFolder folder("kiln-remains-test-");
  EXPECT_EQ(describe(remains_of(folder.path(), kSlots)), "nothing");
  EXPECT_TRUE(remains_of({}, kSlots).mounts.empty()) << "not those of the whole host";
}

TEST(CheckFree, NamesTheFolderAndHowMuchMustBeFree) {
  const host::TemporaryFolder folder("kiln-checks-test-");
  const Check enough = check_free("free disk", folder.path() / "not/yet/there", 0, ".");
  EXPECT_TRUE(enough.ok);
  EXPECT_NE(enough.found.find(folder.path().string()), std::string::npos) << enough.found;
  const Check full = check_free("free disk", folder.path(), std::uint64_t{1} << 60, ", or buy a disk.");
  EXPECT_FALSE(full.ok);
  EXPECT_EQ(full.code, ErrorCode::disk_full);
  EXPECT_NE(full.next.find("Free at least"), std::string::npos);
  EXPECT_NE(full.next.find(", or buy a disk."), std::string::npos);
}

}  // namespace
}  // namespace kiln::machine
