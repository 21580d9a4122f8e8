// Slots: see slots.h. An owner file `<n>.owner` beside the lock `<n>` holds the owner's state folder.
#include "machine/slots.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <system_error>

#include "base/error.h"
#include "base/text.h"
#include "machine/internal/quick_file.h"

namespace kiln::machine {
namespace {

constexpr int kFolderTries = 5;

// The folder of whoever owns the slot, empty when nobody does: no owner file, or an owner that is gone with all its
// names.
std::string owner_of(int slot, const SlotOptions& options) {
  const host::Path file = options.folder / fmt::format("{}.owner", slot);
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) return {};
  const std::string owner(trim(host::read_file(file)));
  const bool owner_gone = owner.empty() || !std::filesystem::exists(owner, ignored);
  if (!owner_gone) return owner;
  const std::string prefix = vpc_namespaces(slot);
  for (const auto& name : std::filesystem::directory_iterator(options.namespaces, ignored)) {
    if (name.path().filename().string().starts_with(prefix)) return owner;
  }
  return {};
}

// "kiln7-vpc-0a1b" -> 7.
std::optional<int> slot_of_namespace(const std::string& name) {
  if (!name.starts_with("kiln")) return std::nullopt;
  const std::size_t end = name.find('-');
  if (end == std::string::npos) return std::nullopt;
  const auto slot = parse_int(std::string_view(name).substr(4, end - 4));
  if (!slot || *slot < 0 || *slot >= kSlots) return std::nullopt;
  return static_cast<int>(*slot);
}

// What the host has of a slot, but for who holds it.
std::map<int, SlotUse> traces(const SlotOptions& options) {
  std::map<int, SlotUse> all;
  std::error_code ignored;
  for (const auto& file : std::filesystem::directory_iterator(options.folder, ignored)) {
    const auto slot = parse_int(file.path().stem().string());
    if (!slot || *slot < 0 || *slot >= kSlots || file.path().extension() != ".owner") continue;
    SlotUse& use = all[static_cast<int>(*slot)];
    use.owner = std::string(trim(read_quick_file(file.path()).value_or("")));
    use.owner_there = !use.owner.empty() && std::filesystem::exists(use.owner, ignored);
  }
  for (const auto& file : std::filesystem::directory_iterator(options.namespaces, ignored)) {
    const std::string name = file.path().filename().string();
    if (const auto slot = slot_of_namespace(name)) all[*slot].namespaces.push_back(name);
  }
  for (auto& [slot, use] : all) {
    use.slot = slot;
    std::ranges::sort(use.namespaces);
  }
  return all;
}

}  // namespace

std::vector<SlotUse> slots_in_use(const SlotOptions& options) {
  std::vector<SlotUse> uses;
  for (auto& [slot, use] : traces(options)) {
    use.holder = host::FileLock::holder(options.folder / std::to_string(slot));
    uses.push_back(std::move(use));
  }
  return uses;
}

std::string slot_name(int slot) { return fmt::format("kiln{}", slot); }

std::string vpc_namespaces(int slot) { return slot_name(slot) + "-"; }

std::string slot_loopback_address(int slot, int number) {
  if (number < 1 || number > kAddressesPerSlot) {
    throw Error(ErrorCode::conflict,
                fmt::format("address {} of slot {} does not exist: a region has {} loopback addresses", number, slot,
                            kAddressesPerSlot),
                "Delete load balancers or instances that are not needed any more.");
  }
  return fmt::format("127.77.{}.{}", slot, number);
}

Slot::Slot(int number, host::Path owner_file, host::FileLock lock)
    : number_(number), owner_file_(std::move(owner_file)), lock_(std::move(lock)) {}

Slot Slot::take(const host::Path& owner, std::string_view what, Time now, const SlotOptions& options) {
  for (int attempt = 0;; ++attempt) {
    host::make_folders(options.folder);
    try {
      return take_in_folder(owner, what, now, options);
    } catch (const Error& error) {
      // The last region has just given its slot back, and removed the folder.
      if (error.code() != ErrorCode::not_found || attempt >= kFolderTries) throw;
    }
  }
}

Slot Slot::take_in_folder(const host::Path& owner, std::string_view what, Time now, const SlotOptions& options) {
  const std::string self = owner.lexically_normal().string();
  const auto owner_file = [&](int slot) { return options.folder / fmt::format("{}.owner", slot); };
  for (int slot = 0; slot < kSlots; ++slot) {
    if (owner_of(slot, options) != self) continue;
    return Slot(slot, owner_file(slot), host::FileLock::take(options.folder / std::to_string(slot), what, now));
  }
  for (int slot = 0; slot < kSlots; ++slot) {
    if (!owner_of(slot, options).empty()) continue;
    auto lock = host::FileLock::try_take(options.folder / std::to_string(slot), what, now);
    // Somebody may have become the owner between the look and the lock, and have died since.
    if (!lock || !owner_of(slot, options).empty()) continue;
    write_quick_file(owner_file(slot), self + "\n");
    return Slot(slot, owner_file(slot), std::move(*lock));
  }
  throw Error(
      ErrorCode::held,
      fmt::format("all {} slots of this host below {} are taken by other regions", kSlots, options.folder.string()),
      "Stop or reset a region that is not needed any more.");
}

void Slot::tidy(std::string_view what, Time now, const SlotOptions& options) {
  for (int slot = 0; slot < kSlots; ++slot) {
    const host::Path file = options.folder / std::to_string(slot);
    std::error_code ignored;
    if (!std::filesystem::exists(file, ignored) || !owner_of(slot, options).empty()) continue;
    auto lock = host::FileLock::try_take(file, what, now);
    if (!lock || !owner_of(slot, options).empty()) continue;
    Slot(slot, options.folder / fmt::format("{}.owner", slot), std::move(*lock)).release();
  }
}

std::optional<Slot> Slot::take_left(int slot, std::string_view what, Time now, const SlotOptions& options) {
  const auto is_left = [&] {
    const std::map<int, SlotUse> all = traces(options);
    const auto use = all.find(slot);
    return use != all.end() && use->second.left();
  };
  if (!is_left()) return std::nullopt;
  host::make_folders(options.folder);
  auto lock = host::FileLock::try_take(options.folder / std::to_string(slot), what, now);
  if (!lock || !is_left()) return std::nullopt;
  return Slot(slot, options.folder / fmt::format("{}.owner", slot), std::move(*lock));
}

std::string Slot::name() const { return slot_name(number_); }

std::string Slot::loopback_address(int number) const { return slot_loopback_address(number_, number); }

void Slot::release() {
  if (!lock_) return;
  const host::Path folder = owner_file_.parent_path();
  // Also what a process left that died while it wrote the file.
  for (const std::string& file : host::list_folder(folder)) {
    std::error_code ignored;
    if (file.starts_with(owner_file_.filename().string())) std::filesystem::remove(folder / file, ignored);
  }
  lock_->remove();
  lock_.reset();
  // With the last region the folders go too; they are not empty before.
  if (::rmdir(folder.c_str()) == 0) ::rmdir(folder.parent_path().c_str());
}

}  // namespace kiln::machine
