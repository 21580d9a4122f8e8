// Partitions: see internal/partitions.h. UEFI Specification 2.10, chapter 5: "GUID Partition Table (GPT) Disk Layout".
#include "machine/internal/partitions.h"

#include <algorithm>
#include <string>

namespace kiln::machine {
namespace {

constexpr std::uint64_t kSector = 512;

// Little endian; zero where there are no bytes.
std::uint64_t number(std::string_view bytes, std::size_t at, std::size_t size) {
  if (at > bytes.size() || bytes.size() - at < size) return 0;
  std::uint64_t value = 0;
  for (std::size_t i = size; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

void add(std::vector<Extent>& found, std::uint64_t first, std::uint64_t sectors, std::uint64_t disk_bytes) {
  const std::uint64_t all = disk_bytes / kSector;
  if (first == 0 || sectors == 0 || first >= all || sectors > all - first) return;
  found.push_back({first * kSector, sectors * kSector});
}

std::vector<Extent> gpt(std::string_view head, std::uint64_t disk_bytes) {
  std::vector<Extent> found;
  constexpr std::size_t kHeader = kSector;
  if (head.substr(std::min(kHeader, head.size()), 8) != "EFI PART") return found;
  const std::uint64_t table = number(head, kHeader + 72, 8);
  const std::uint64_t count = std::min<std::uint64_t>(number(head, kHeader + 80, 4), kPartitionsMost);
  const std::uint64_t entry = number(head, kHeader + 84, 4);
  if (table > kTableBytes / kSector || entry < 128 || entry > kSector) return found;
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto at = static_cast<std::size_t>(table * kSector + i * entry);
    const bool used = number(head, at, 8) != 0 || number(head, at + 8, 8) != 0;
    const std::uint64_t first = number(head, at + 32, 8);
    const std::uint64_t last = number(head, at + 40, 8);
    if (used && last >= first && last - first < disk_bytes) add(found, first, last - first + 1, disk_bytes);
  }
  return found;
}

}  // namespace

std::vector<Extent> partitions_of(std::string_view head, std::uint64_t disk_bytes) {
  constexpr std::size_t kEntries = 446;
  constexpr std::uint64_t kProtective = 0xEE;  // of a disk that has a GPT
  std::vector<Extent> found;
  if (number(head, 510, 2) != 0xAA55) return found;
  for (std::size_t at = kEntries; at < 510; at += 16) {
    const std::uint64_t type = number(head, at + 4, 1);
    if (type == kProtective) return gpt(head, disk_bytes);
    if (type != 0) add(found, number(head, at + 8, 4), number(head, at + 12, 4), disk_bytes);
  }
  return found;
}

}  // namespace kiln::machine
