// Lease: a folder that goes with its process's word, or with the next look when the process died.
#include "store/lease.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/text.h"

namespace kiln::store {
namespace {

host::Path folder_of(const Store& store) { return store.folder() / "leases"; }

}  // namespace

Lease::Lease(const Store& store, const Digest& image, std::string_view what) {
  host::make_folders(folder_of(store));
  folder_ = std::make_unique<host::TemporaryFolder>(host::self().str() + "-" + image.hex() + "-", folder_of(store));
  host::write_file(folder_->path() / "what", what);
}

std::vector<Leased> leases(const Store& store) {
  std::vector<Leased> all;
  if (!std::filesystem::exists(folder_of(store))) return all;
  for (const std::string& name : host::list_folder(folder_of(store))) {
    const std::vector<std::string> parts = split(name, '-');
    const auto process = host::ProcessRef::parse(parts[0]);
    if (process && parts.size() > 1 && host::alive(*process)) {
      Leased leased{Digest::parse("sha256:" + parts[1]), *process, "another process"};
      try {
        leased.what = host::read_file(folder_of(store) / name / "what");
      } catch (const Error& error) {
        if (error.code() != ErrorCode::not_found) throw;  // it is just being taken, or given back
      }
      all.push_back(std::move(leased));
      continue;
    }
    try {
      host::remove_tree(folder_of(store) / name);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::not_found) throw;  // another one was quicker
    }
  }
  return all;
}

bool renew(const Store& store, const Digest& blob) {
  return ::utimensat(AT_FDCWD, store.path_of(blob).c_str(), nullptr, 0) == 0;
}

}  // namespace kiln::store
