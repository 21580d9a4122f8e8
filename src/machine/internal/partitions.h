// Partitions: where the parts of a disk lie, by its table: a GPT, or the primary partitions of an MBR. Pure.
//
// The bytes are a guest's: what does not lie on the disk is left out, and nothing is read beyond what was given.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace kiln::machine {

// A part of a file; of no size: all of it.
struct Extent {
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
  bool operator==(const Extent&) const = default;
};

// What must be given of a disk: the table of a GPT is in its first 34 sectors, where all programs put it.
inline constexpr std::size_t kTableBytes = 34 * 512;
inline constexpr std::size_t kPartitionsMost = 128;

// In the order of the table. None: `head` has no table.
std::vector<Extent> partitions_of(std::string_view head, std::uint64_t disk_bytes);

}  // namespace kiln::machine
