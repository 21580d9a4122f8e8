// Slots: see slots.h. An owner file `<n>.owner` beside the lock `<n>` holds the owner's state folder.
#include "machine/slots.h"

#include <fmt/format.h>
#include <unistd.h>

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

}  // namespace

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
