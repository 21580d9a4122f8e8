// Layers: the erofs blobs of images, each mounted once a region and shared by its machines.
//
// Safe from several threads. Mounts are below `folder`/<digest's hex> and live on when the process dies; a new object
// finds them again. A blob is verified before its first mount: an altered one is the store's Error(corrupt).
#pragma once

#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/digest.h"
#include "host/file.h"
#include "store/store.h"

namespace kiln::machine {

// One line of /proc/self/mountinfo, as far as we need it.
struct MountLine {
  std::string target;
  std::string type;
  std::string source;
};
// Pure. Octal escapes (\040) are undone.
std::vector<MountLine> parse_mountinfo(std::string_view text);
std::vector<MountLine> mounts_below(const host::Path& folder);  // deepest first
// umount2(2) until nothing is mounted there; nothing there is fine. Detaches lazily what stays busy.
void unmount(const host::Path& target);

class Layers {
 public:
  // `store` must outlive this.
  Layers(const store::Store& store, host::Path folder);
  const host::Path& folder() const { return folder_; }

  // Mounts what is not yet mounted. `user` (a machine) holds them until `release`.
  void hold(const std::string& user, const store::Image& image);
  // Unmounts what nobody holds any more.
  void release(const std::string& user);
  // Unmounts what is mounted and not held: what a dead process has left.
  void sweep();

 private:
  void mount_layer(const Digest& digest);

  const store::Store& store_;
  host::Path folder_;
  std::mutex mutex_;
  std::map<Digest, std::set<std::string>> users_;
};

}  // namespace kiln::machine
