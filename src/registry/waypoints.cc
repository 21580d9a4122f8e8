// Waypoints: small files named by digests.
#include "registry/waypoints.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/error.h"
#include "host/clock.h"
#include "registry/reference.h"

namespace kiln::registry {
namespace {

constexpr std::string_view kLock = ".lock";

struct Found {
  std::uint64_t bytes = 0;
  Time changed{};
};

std::optional<Found> look_at(const host::Path& file) {
  struct stat info {};
  if (::lstat(file.c_str(), &info) != 0) return std::nullopt;
  return Found{static_cast<std::uint64_t>(info.st_size),
               Time(Duration(info.st_mtim.tv_sec * 1000 + info.st_mtim.tv_nsec / 1'000'000))};
}

}  // namespace

Waypoints::Waypoints(const store::Store& store) : folder_(store.folder() / "transfers") {
  for (const char* name : {"incoming", "outgoing", "known"}) host::make_folders(folder_ / name, 0700);
}

host::FileLock Waypoints::lock(const Digest& blob) const {
  const host::SystemClock clock;
  return host::FileLock::wait(incoming(blob).string() + std::string(kLock), "fetching a blob", clock.now());
}

host::Path Waypoints::outgoing(const std::string& registry, const std::string& repository, const Digest& blob) const {
  return folder_ / "outgoing" / sha256(registry + "/" + repository + "@" + blob.str()).hex();
}

std::string Waypoints::known_in(const std::string& registry, const Digest& blob) const {
  const host::Path file = known_file(registry, blob);
  // Its time is renewed: what is asked for is not swept.
  if (::utimensat(AT_FDCWD, file.c_str(), nullptr, 0) != 0) return {};
  try {
    std::string repository = host::read_file(file);
    return is_repository(repository) ? repository : std::string();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::not_found) throw;
    return {};  // a sweep was quicker
  }
}

void Waypoints::know(const std::string& registry, const std::string& repository, const Digest& blob) const {
  if (known_in(registry, blob).empty()) host::write_file(known_file(registry, blob), repository);
}

host::Path Waypoints::known_file(const std::string& registry, const Digest& blob) const {
  return folder_ / "known" / sha256(registry + "@" + blob.str()).hex();
}

Waypoints::Swept Waypoints::sweep(Time now, bool act) const {
  Swept swept;
  const auto remove = [&](const host::Path& file, Duration rest) {
    const auto found = look_at(file);
    if (!found || found->changed + rest > now) return;
    std::error_code error;
    if (act) std::filesystem::remove(file, error);
    if (error) return;
    ++swept.files;
    swept.bytes += found->bytes;
  };
  for (const std::string& name : host::list_folder(folder_ / "incoming")) {
    const host::Path file = folder_ / "incoming" / name;
    // A lock alone, or the one of a piece that is looked at by its own name.
    const bool is_lock = name.ends_with(kLock);
    if (is_lock && std::filesystem::exists(file.string().substr(0, file.string().size() - kLock.size()))) continue;
    const auto found = look_at(file);
    if (!found || found->changed + kUnfinished > now) continue;
    const std::string lock_file = is_lock ? file.string() : file.string() + std::string(kLock);
    if (!act) {
      if (!host::FileLock::holder(lock_file)) remove(file, kUnfinished);
      continue;
    }
    auto lock = host::FileLock::try_take(lock_file, "sweeping transfers", now);
    if (!lock) continue;  // somebody fetches it now
    if (!is_lock) remove(file, kUnfinished);
    lock->remove();
  }
  // Who uploads keeps the address in mind, and notes it again with the next chunk.
  for (const std::string& name : host::list_folder(folder_ / "outgoing")) {
    remove(folder_ / "outgoing" / name, kUnfinished);
  }
  for (const std::string& name : host::list_folder(folder_ / "known")) remove(folder_ / "known" / name, kKnown);
  return swept;
}

}  // namespace kiln::registry
