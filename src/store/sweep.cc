// Sweep: index.json first, then notes, then blobs.
#include "store/sweep.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "host/clock.h"
#include "host/lock.h"
#include "store/manifest.h"

namespace kiln::store {
namespace {

using Json = nlohmann::json;

std::optional<Digest> digest_in(const Json& descriptor) {
  if (!descriptor.is_object() || !descriptor.contains("digest")) return std::nullopt;
  return Digest::parse(descriptor["digest"].get<std::string>());
}

std::optional<Time> changed(const host::Path& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return std::nullopt;
  return Time(Duration(info.st_mtim.tv_sec * 1000 + info.st_mtim.tv_nsec / 1'000'000));
}

class Sweeper {
 public:
  Sweeper(const Store& store, const SweepRequest& request) : store_(store), request_(request) {}

  void unname() {
    const auto lock = host::FileLock::wait(store_.folder() / "lock", "removing names from the store", request_.now);
    rename_index();
  }

  Swept run() {
    {
      const auto lock = host::FileLock::wait(store_.folder() / "lock", "sweeping the store", request_.now);
      rename_index();
    }
    for (const Digest& root : roots_) mark(root);
    count_gone();
    rest();
    sweep_notes();
    for (const std::string& name : host::list_folder(store_.folder() / "blobs" / "sha256")) sweep_blob(name);
    if (request_.act && std::filesystem::exists(request_.layer_contents)) sweep_contents();
    return swept_;
  }

 private:
  // Nothing for what is no JSON: layers are large and name nothing. Checked against its digest: an altered manifest
  // must not lose its layers.
  Json read_manifest_of(const Digest& digest) const {
    std::error_code error;
    const auto size = std::filesystem::file_size(store_.path_of(digest), error);
    if (error || size > kManifestBytesMax) return {};
    const host::FileDescriptor fd(::open(store_.path_of(digest).c_str(), O_RDONLY | O_CLOEXEC));
    char first = 0;
    if (!fd || ::read(fd.get(), &first, 1) != 1 || first != '{') return {};
    return Json::parse(store_.read(digest), nullptr, false);
  }

  // What a manifest or an index of manifests names.
  std::vector<Digest> named_by(const Json& manifest) const {
    std::vector<Digest> named;
    if (!manifest.is_object()) return named;
    if (manifest.contains("config")) {
      if (const auto digest = digest_in(manifest["config"])) named.push_back(*digest);
    }
    for (const char* list : {"layers", "manifests", "blobs"}) {
      for (const Json& item : manifest.value(list, Json::array())) {
        if (const auto digest = digest_in(item)) named.push_back(*digest);
      }
    }
    return named;
  }

  // Leaves out of index.json what goes, and whatever speaks about it.
  void rename_index() {
    const host::Path path = store_.folder() / "index.json";
    Json index = Json::parse(host::read_file(path), nullptr, false);
    if (!index.is_object() || !index.contains("manifests")) {
      throw Error(ErrorCode::corrupt, fmt::format("{} cannot be read", path.string()), "Nothing was removed.");
    }
    gone_ = request_.gone;
    std::erase_if(gone_, [&](const Digest& digest) { return is_young(digest); });
    std::map<Digest, Digest> subject_of;
    for (const Json& entry : index["manifests"]) {
      const auto digest = digest_in(entry);
      if (!digest) continue;
      const Json manifest = read_manifest_of(*digest);
      if (!manifest.is_object() || !manifest.contains("subject")) continue;
      if (const auto subject = digest_in(manifest["subject"])) subject_of.emplace(*digest, *subject);
    }
    for (bool more = true; more;) {
      more = false;
      for (const auto& [digest, subject] : subject_of) more |= gone_.contains(subject) && gone_.insert(digest).second;
    }
    Json kept = Json::array();
    for (const Json& entry : index["manifests"]) {
      const auto digest = digest_in(entry);
      if (digest && gone_.contains(*digest)) {
        named_gone_.push_back(*digest);
        continue;
      }
      if (digest) (request_.gone.contains(*digest) ? resting_ : roots_).push_back(*digest);
      kept.push_back(entry);
    }
    if (kept.size() == index["manifests"].size() || !request_.act) return;
    index["manifests"] = kept;
    host::write_file(path, index.dump());
  }

  void mark(const Digest& root) {
    std::vector<Digest> todo = {root};
    while (!todo.empty()) {
      const Digest next = todo.back();
      todo.pop_back();
      if (!marked_.insert(next).second) continue;
      for (const Digest& named : named_by(read_manifest_of(next))) todo.push_back(named);
    }
  }

  void count_gone() {
    std::set<Digest> counted;
    for (const Digest& digest : named_gone_) {
      std::uint64_t bytes = 0;
      std::vector<Digest> all = named_by(read_manifest_of(digest));
      all.push_back(digest);
      for (const Digest& blob : all) {
        if (marked_.contains(blob) || !counted.insert(blob).second) continue;
        std::error_code error;
        const auto size = std::filesystem::file_size(store_.path_of(blob), error);
        if (!error) bytes += size;
      }
      swept_.of_gone[digest] = bytes;
    }
  }

  bool is_young(const Digest& digest) const {
    const auto time = changed(store_.path_of(digest));
    return time && *time + request_.young > request_.now;
  }

  // What is too young to go is needed as it is, and counted as what may go later.
  void rest() {
    const std::set<Digest> needed = marked_;
    for (const Digest& root : resting_) mark(root);
    for (const Digest& digest : marked_) {
      std::error_code error;
      const auto size = std::filesystem::file_size(store_.path_of(digest), error);
      if (!error && !needed.contains(digest)) swept_.young_bytes += size;
    }
  }

  Duration notes_rest() const { return std::max(request_.young, request_.young_notes); }

  // Of a layer that no image has: kept while it is young, and its blob with it.
  void sweep_notes() {
    if (request_.layer_notes.empty() || !std::filesystem::exists(request_.layer_notes)) return;
    for (const std::string& name : host::list_folder(request_.layer_notes)) {
      const host::Path note = request_.layer_notes / name;
      try {
        const Digest digest = Digest::parse(split(trim(host::read_file(note)), ' ')[0]);
        if (marked_.contains(digest)) continue;
        const auto time = changed(note);
        if (time && *time + notes_rest() > request_.now) {
          noted_.insert(digest);
        } else if (request_.act && !remove_old(note, notes_rest())) {
          noted_.insert(digest);
        }
      } catch (const Error& error) {
        // A broken note, or one that a bake is just writing: the bake knows what to do with it.
        if (error.code() != ErrorCode::invalid && error.code() != ErrorCode::not_found) throw;
      }
    }
  }

  void sweep_blob(const std::string& name) {
    const host::Path path = store_.folder() / "blobs" / "sha256" / name;
    std::error_code error;
    const auto size = std::filesystem::file_size(path, error);
    if (error || name.size() != 64) return;
    const Digest digest = Digest::parse("sha256:" + name);
    if (marked_.contains(digest)) return;
    const auto time = changed(path);
    if (noted_.contains(digest) || !time || *time + request_.young > request_.now ||
        (request_.act && !remove_old(path, request_.young))) {
      swept_.young_bytes += size;
      return;
    }
    ++swept_.blobs;
    swept_.bytes += size;
  }

  // What was read of layers that are gone. A bake that writes some has its layer already.
  void sweep_contents() const {
    for (const std::string& name : host::list_folder(request_.layer_contents)) {
      std::error_code error;
      if (!std::filesystem::exists(store_.folder() / "blobs" / "sha256" / name, error) && !error)
        std::filesystem::remove(request_.layer_contents / name, error);
    }
  }

  // False when somebody renewed it while it was moved out of the way.
  bool remove_old(const host::Path& path, Duration rest) const {
    const auto work = store_.temporary();
    const host::Path aside = work->path() / "aside";
    std::error_code error;
    std::filesystem::rename(path, aside, error);
    if (error == std::errc::cross_device_link) {
      // Notes may be on another file system: then beside themselves.
      std::filesystem::remove(path, error);
      return true;
    }
    if (error) return false;
    const auto time = changed(aside);
    if (!time || *time + rest <= request_.now) return true;  // goes with `work`
    std::filesystem::rename(aside, path, error);
    return false;
  }

  const Store& store_;
  const SweepRequest& request_;
  std::set<Digest> gone_;
  std::vector<Digest> named_gone_;
  std::vector<Digest> roots_;
  std::vector<Digest> resting_;  // they shall go, and are too young
  std::set<Digest> marked_;
  std::set<Digest> noted_;  // named by young notes
  Swept swept_;
};

}  // namespace

Swept sweep(const Store& store, const SweepRequest& request) {
  return with_context("sweeping the store", [&] { return Sweeper(store, request).run(); });
}

void unname(const Store& store, const std::set<Digest>& manifests) {
  SweepRequest request;
  request.gone = manifests;
  request.now = host::SystemClock().now();
  request.young = Duration(0);
  request.act = true;
  Sweeper(store, request).unname();
}

}  // namespace kiln::store
