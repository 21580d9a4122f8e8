// Tests of the tables of disks, as programs write them and as nobody should.
#include "machine/internal/partitions.h"

#include <gmock/gmock.h>

#include <string>
#include <vector>

namespace kiln::machine {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
constexpr std::uint64_t kDisk = 64 * kMiB;

void put(std::string& bytes, std::size_t at, std::size_t size, std::uint64_t value) {
  for (std::size_t i = 0; i < size; ++i) bytes[at + i] = static_cast<char>(value >> (8 * i));
}

// One primary partition.
std::string mbr_with(std::uint64_t type, std::uint64_t first, std::uint64_t sectors) {
  std::string bytes(kTableBytes, '\0');
  put(bytes, 446 + 4, 1, type);
  put(bytes, 446 + 8, 4, first);
  put(bytes, 446 + 12, 4, sectors);
  put(bytes, 510, 2, 0xAA55);
  return bytes;
}

struct Entry {
  std::uint64_t first;
  std::uint64_t last;
};

// As sfdisk and parted write it: a protective MBR, the header in the second sector, 128 entries of 128 bytes behind it.
std::string gpt_with(const std::vector<Entry>& entries) {
  std::string bytes = mbr_with(0xEE, 1, kDisk / 512 - 1);
  bytes.replace(512, 8, "EFI PART");
  put(bytes, 512 + 72, 8, 2);
  put(bytes, 512 + 80, 4, 128);
  put(bytes, 512 + 84, 4, 128);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const std::size_t at = 1024 + i * 128;
    put(bytes, at, 8, 0x4772'8483'0FC6'3DAF);
    put(bytes, at + 8, 8, 0xE47D'4784'693D'798E);
    put(bytes, at + 32, 8, entries[i].first);
    put(bytes, at + 40, 8, entries[i].last);
  }
  return bytes;
}

TEST(Partitions, AreThoseOfItsTable) {
  EXPECT_THAT(partitions_of(gpt_with({{2048, 10239}, {10240, 51199}}), kDisk),
              ElementsAre(Extent{kMiB, 4 * kMiB}, Extent{5 * kMiB, 20 * kMiB}));
  EXPECT_THAT(partitions_of(mbr_with(0x83, 2048, 16384), kDisk), ElementsAre(Extent{kMiB, 8 * kMiB}));
  EXPECT_THAT(partitions_of(gpt_with(std::vector<Entry>(128, {2048, 10239})), kDisk), ::testing::SizeIs(128));
}

TEST(Partitions, ADiskWithoutATableHasNone) {
  EXPECT_THAT(partitions_of("", kDisk), IsEmpty());
  EXPECT_THAT(partitions_of(std::string(kTableBytes, '\0'), kDisk), IsEmpty());
  EXPECT_THAT(partitions_of(std::string(kTableBytes, '\xFF'), kDisk), IsEmpty());
}

TEST(Partitions, WhatDoesNotLieOnTheDiskIsLeftOut) {
  const std::uint64_t all = kDisk / 512;
  EXPECT_THAT(partitions_of(mbr_with(0x83, 2048, all - 2048), kDisk), ElementsAre(Extent{kMiB, kDisk - kMiB}));
  EXPECT_THAT(partitions_of(mbr_with(0x83, 2048, all - 2047), kDisk), IsEmpty());
  EXPECT_THAT(partitions_of(mbr_with(0x83, all, 1), kDisk), IsEmpty());
  EXPECT_THAT(partitions_of(mbr_with(0x83, 0, 10), kDisk), IsEmpty());
  EXPECT_THAT(partitions_of(mbr_with(0x83, 10, 0), kDisk), IsEmpty());
  EXPECT_THAT(partitions_of(mbr_with(0x83, 0xFFFFFFFF, 0xFFFFFFFF), kDisk), IsEmpty());
  EXPECT_THAT(partitions_of(mbr_with(0xEE, 1, all - 1), kDisk), IsEmpty()) << "its GPT is not there";
}

// Each field of the header and of the first entry with numbers that would lead out of the disk or of what was given.
TEST(Partitions, AGptWithHostileNumbersGivesNoPartThatIsNotOnTheDisk) {
  const std::string good = gpt_with({{2048, 43007}});
  ASSERT_THAT(partitions_of(good, kDisk), ElementsAre(Extent{kMiB, 20 * kMiB}));
  for (std::size_t at = 512; at < 1024 + 128; ++at) {
    for (const std::uint64_t value :
         {~std::uint64_t{0}, std::uint64_t{0}, ~std::uint64_t{0} >> 1, std::uint64_t{1} << 55}) {
      std::string bad = good;
      put(bad, at, 8, value);
      for (const Extent& part : partitions_of(bad, kDisk)) {
        EXPECT_LT(part.offset, kDisk) << at;
        EXPECT_LE(part.size, kDisk - part.offset) << at;
        EXPECT_GT(part.size, 0u) << at;
      }
    }
  }
}

TEST(Partitions, ATableThatIsCutAnywhereIsReadNoFurther) {
  const std::string good = gpt_with({{2048, 43007}});
  for (std::size_t size = 0; size < good.size(); size += size < 1200 ? 1 : 97)
    EXPECT_LE(partitions_of(std::string_view(good).substr(0, size), kDisk).size(), 1u) << size;
}

}  // namespace
}  // namespace kiln::machine
