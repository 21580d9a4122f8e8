// Cache: a line of text a layer: "<digest> <size>".
#include "bake/cache.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/error.h"
#include "base/text.h"

namespace kiln::bake {
namespace {

host::FileLock wait_for(const host::Path& path, std::string_view what, Time now, const std::function<bool()>& cancelled,
                        const Cache::Print& print) {
  return host::FileLock::wait(path, what, now, cancelled, [&](const host::LockHolder& holder) {
    print(fmt::format("waiting for process {}: {} since {}\n", holder.pid, holder.what, format_iso8601(holder.since)));
  });
}

}  // namespace

Cache::Cache(const host::Path& folder, const store::Store& store)
    : folder_(std::filesystem::absolute(folder)), store_(store) {
  for (const char* part : {"layers", "locks", "apart", "apt"}) host::make_folders(folder_ / part);
}

std::optional<store::Blob> Cache::find(const Digest& key) const {
  const host::Path path = folder_ / "layers" / key.hex();
  // Its time is renewed before it is read: a sweep of the store lets what is young be.
  if (::utimensat(AT_FDCWD, path.c_str(), nullptr, 0) != 0 && errno == ENOENT) return std::nullopt;
  try {
    const std::string text = host::read_file(path);
    const auto words = split(trim(text), ' ');
    const auto size = words.size() == 2 ? parse_int(words[1]) : std::nullopt;
    if (!size || *size < 0) return std::nullopt;
    store::Blob blob{Digest::parse(words[0]), static_cast<std::uint64_t>(*size), std::string(store::kErofsLayerType)};
    std::error_code error;
    if (std::filesystem::file_size(store_.path_of(blob.digest), error) != blob.size_bytes || error) return std::nullopt;
    return blob;
  } catch (const Error& error) {
    if (error.code() == ErrorCode::invalid || error.code() == ErrorCode::not_found) return std::nullopt;
    throw;
  }
}

void Cache::put(const Digest& key, const store::Blob& blob) const {
  host::write_file(folder_ / "layers" / key.hex(), fmt::format("{} {}\n", blob.digest.str(), blob.size_bytes));
}

host::FileLock Cache::lock(const Digest& key, Time now, const std::function<bool()>& cancelled,
                           const Print& print) const {
  return wait_for(folder_ / "locks" / key.hex().substr(0, 4), "baking a layer", now, cancelled, print);
}

bool Cache::is_apart(const Digest& lower, const Digest& upper) const {
  return std::filesystem::exists(folder_ / "apart" / sha256(lower.hex() + upper.hex()).hex());
}

void Cache::note_apart(const Digest& lower, const Digest& upper) const {
  host::write_file(folder_ / "apart" / sha256(lower.hex() + upper.hex()).hex(), "");
}

host::FileLock Cache::lock_apt(const std::string& release, Time now, const std::function<bool()>& cancelled,
                               const Print& print) const {
  return wait_for(folder_ / "apt" / (release + ".lock"), "installing packages", now, cancelled, print);
}

host::Path Cache::apt_folder(const std::string& release) const {
  const host::Path folder = folder_ / "apt" / release;
  for (const char* part : {"lists/partial", "archives/partial"}) host::make_folders(folder / part);
  return folder;
}

}  // namespace kiln::bake
