// Transfer: collect what belongs to the image, move its blobs side by side, write its manifests from the leaves up.
#include "registry/transfer.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <exception>
#include <set>
#include <thread>

#include "base/error.h"
#include "base/text.h"
#include "host/clock.h"
#include "host/lock.h"

namespace kiln::registry {
namespace {

constexpr int kDepthMax = 4;                 // an index of indexes of indexes is a joke or an attack
constexpr std::size_t kManifestsMax = 2000;  // of one image with all that is said about it
constexpr std::string_view kMachine = "application/vnd.kiln.machine.v1";
constexpr std::chrono::hours kKept{24 * 7};

enum class Outcome { there, mounted, moved };

// The two ends of one transfer.
struct Ends {
  std::function<Manifest(const std::string& reference)> read;
  std::function<std::vector<Digest>(const Digest& subject)> about;
  std::function<bool(const Digest& manifest)> has_manifest;  // and so everything that hangs on it
  std::function<Outcome(const store::Blob& blob, const OnBytes& on_bytes)> move;
  std::function<void(const Manifest& manifest, const Document& document, bool root)> write;
};

struct Part {
  Manifest manifest;
  Document document;
};

// Counts for several threads and shows what it counts.
class Counter {
 public:
  explicit Counter(const Options& options) : options_(options) {}
  template <typename Change>
  void change(Change&& change) {
    const std::lock_guard hold(mutex_);
    change(tally_);
    if (options_.on_progress) options_.on_progress(tally_);
  }
  Tally tally() {
    const std::lock_guard hold(mutex_);
    return tally_;
  }

 private:
  const Options& options_;
  std::mutex mutex_;
  Tally tally_;
};

// Calls `work` for each index below `count`, `parallel` at once. After a failure nothing new is begun; the first one
// climbs.
void side_by_side(std::size_t count, std::size_t parallel, const std::function<void(std::size_t)>& work) {
  std::atomic<std::size_t> next{0};
  std::atomic<bool> failed{false};
  std::mutex mutex;
  std::exception_ptr first;
  const auto run = [&] {
    for (std::size_t index = next++; index < count && !failed; index = next++) {
      try {
        work(index);
      } catch (...) {
        const std::lock_guard hold(mutex);
        if (!first) first = std::current_exception();
        failed = true;
      }
    }
  };
  std::vector<std::thread> threads;
  for (std::size_t i = 1; i < std::min(std::max<std::size_t>(parallel, 1), count); ++i) threads.emplace_back(run);
  run();
  for (std::thread& thread : threads) thread.join();
  if (first) std::rethrow_exception(first);
}

// The document and all that it names, children first.
void collect(const Ends& ends, Manifest manifest, std::vector<Part>& parts, std::set<Digest>& seen, int depth) {
  if (!seen.insert(manifest.digest).second) return;
  if (depth > kDepthMax || seen.size() > kManifestsMax) {
    throw Error(ErrorCode::corrupt,
                fmt::format("an image of more than {} manifests, or deeper than {}", kManifestsMax, kDepthMax));
  }
  Document document = with_context(fmt::format("reading {}", manifest.digest.str()),
                                   [&] { return read_document(manifest.bytes, manifest.media_type); });
  manifest.media_type = document.media_type;
  for (const store::Blob& child : document.manifests)
    collect(ends, ends.read(child.digest.str()), parts, seen, depth + 1);
  parts.push_back({std::move(manifest), std::move(document)});
}

void move_parts(const Ends& ends, const std::vector<Part>& parts, const Options& options, Counter& counter) {
  std::vector<const Part*> missing;
  for (const Part& part : parts) {
    if (!ends.has_manifest(part.manifest.digest)) missing.push_back(&part);
  }
  std::vector<store::Blob> blobs;
  std::set<Digest> seen, unneeded;
  for (const Part& part : parts) {
    const bool there = std::ranges::find(missing, &part) == missing.end();
    for (const store::Blob& blob : part.document.blobs) {
      if (!seen.insert(blob.digest).second) continue;
      blobs.push_back(blob);
      if (there) unneeded.insert(blob.digest);
    }
  }
  counter.change([&](Tally& tally) {
    tally.blobs_total += blobs.size();
    for (const store::Blob& blob : blobs) tally.bytes_total += blob.size_bytes;
  });
  // The biggest first: the last one under way is then a small one.
  std::ranges::stable_sort(blobs, std::greater(), &store::Blob::size_bytes);
  side_by_side(blobs.size(), options.parallel, [&](std::size_t index) {
    const store::Blob& blob = blobs[index];
    std::int64_t counted = 0;
    const Outcome outcome = unneeded.contains(blob.digest) ? Outcome::there : ends.move(blob, [&](std::int64_t bytes) {
      counted += bytes;
      counter.change([&](Tally& tally) { tally.bytes_moved += static_cast<std::uint64_t>(bytes); });
    });
    counter.change([&](Tally& tally) {
      if (outcome == Outcome::moved) {
        ++tally.blobs_moved;
        return;
      }
      tally.bytes_moved -= static_cast<std::uint64_t>(counted);
      tally.bytes_there += blob.size_bytes;
      ++(outcome == Outcome::mounted ? tally.blobs_mounted : tally.blobs_there);
    });
  });
}

Moved transfer(const Ends& ends, const std::string& reference, const Options& options) {
  Counter counter(options);
  std::vector<Part> parts;
  std::set<Digest> seen;
  Manifest root = ends.read(reference);
  Moved moved;
  moved.digest = root.digest;
  collect(ends, std::move(root), parts, seen, 0);
  move_parts(ends, parts, options, counter);
  const Document& top = parts.back().document;
  moved.media_type = top.media_type;
  moved.artifact_type = top.artifact_type;
  moved.annotations = top.annotations;
  const auto write = [&](const std::vector<Part>& all) {
    for (const Part& part : all) {
      const bool last = &part == &all.back();
      if (!last && ends.has_manifest(part.manifest.digest)) continue;
      ends.write(part.manifest, part.document, last);
    }
  };
  write(parts);
  // What is said about it, and what is said about that (a signature of an SBOM).
  std::deque<Digest> subjects{moved.digest};
  while (options.referrers && !subjects.empty()) {
    const Digest subject = subjects.front();
    subjects.pop_front();
    for (const Digest& referrer : ends.about(subject)) {
      if (seen.contains(referrer)) continue;
      std::vector<Part> said;
      collect(ends, ends.read(referrer.str()), said, seen, 0);
      const Document& document = said.back().document;
      if (document.subject.digest != subject) continue;  // the list claims what the document does not
      move_parts(ends, said, options, counter);
      write(said);
      moved.referrers.push_back(referrer);
      subjects.push_back(referrer);
    }
  }
  moved.tally = counter.tally();
  return moved;
}

// The store's side of transfers: what is half there, and where blobs are known to be.
class Waypoints {
 public:
  explicit Waypoints(const store::Store& store) : folder_(store.folder() / "transfers") {
    for (const char* name : {"incoming", "outgoing", "known"}) host::make_folders(folder_ / name, 0700);
    const auto oldest = std::filesystem::file_time_type::clock::now() - kKept;
    for (const char* name : {"incoming", "outgoing"}) {
      for (const std::string& file : host::list_folder(folder_ / name)) {
        std::error_code gone;
        const auto time = std::filesystem::last_write_time(folder_ / name / file, gone);
        if (!gone && time < oldest) std::filesystem::remove(folder_ / name / file, gone);
      }
    }
  }
  host::Path incoming(const Digest& blob) const { return folder_ / "incoming" / blob.hex(); }
  host::FileLock lock(const Digest& blob) const {
    const host::SystemClock clock;
    return host::FileLock::wait(folder_ / "incoming" / (blob.hex() + ".lock"), "fetching a blob", clock.now());
  }
  host::Path outgoing(const std::string& registry, const std::string& repository, const Digest& blob) const {
    return folder_ / "outgoing" / sha256(registry + "/" + repository + "@" + blob.str()).hex();
  }
  // A repository of that registry in which the blob was seen, so that others there may take it over.
  std::string known_in(const std::string& registry, const Digest& blob) const {
    const host::Path file = known_file(registry, blob);
    if (!std::filesystem::exists(file)) return {};
    std::string repository = host::read_file(file);
    return is_repository(repository) ? repository : std::string();
  }
  void know(const std::string& registry, const std::string& repository, const Digest& blob) const {
    if (known_in(registry, blob).empty()) host::write_file(known_file(registry, blob), repository);
  }

 private:
  host::Path known_file(const std::string& registry, const Digest& blob) const {
    return folder_ / "known" / sha256(registry + "@" + blob.str()).hex();
  }
  host::Path folder_;
};

// The registry's end of a push or a mirror. `client` and `to` must outlive it.
void write_to_registry(Ends& ends, Client& client, const Reference& to) {
  ends.has_manifest = [&client, &to](const Digest& manifest) {
    return client.has_manifest(to.repository, manifest.str()) == manifest;
  };
  ends.write = [&client, &to](const Manifest& manifest, const Document& document, bool root) {
    const Digest& subject = document.subject.digest;
    if (!subject.empty()) {
      const bool there = client.has_manifest(to.repository, manifest.digest.str()) == manifest.digest;
      if (!there && client.put_manifest(to.repository, manifest.digest.str(), manifest)) return;
      // Read before it is written: a registry with the API lists it there already.
      for (const Referrer& known : client.referrers(to.repository, subject)) {
        if (known.manifest.digest == manifest.digest) return;
      }
      client.note_referrer(to.repository, subject,
                           {{manifest.digest, manifest.bytes.size(), manifest.media_type, {}},
                            referrer_type(document),
                            document.annotations});
      return;
    }
    const std::string reference = root && !to.tag.empty() ? to.tag : manifest.digest.str();
    if (client.has_manifest(to.repository, reference) == manifest.digest) return;
    client.put_manifest(to.repository, reference, manifest);
  };
}

std::vector<Digest> digests_of(const std::vector<Referrer>& referrers) {
  std::vector<Digest> digests;
  for (const Referrer& referrer : referrers) digests.push_back(referrer.manifest.digest);
  return digests;
}

Manifest read_from_store(const store::Store& store, const std::string& reference) {
  const Digest digest = Digest::parse(reference);
  return {store.read(digest), "", digest};
}

// Fetches a blob into the store's transfers/; the caller holds its lock.
void fetch(Client& client, const std::string& repository, const store::Blob& blob, const host::Path& file,
           const store::Store& store, const OnBytes& on_bytes) {
  std::error_code ignored;
  const std::uint64_t have = std::filesystem::exists(file) ? std::filesystem::file_size(file, ignored) : 0;
  const std::uint64_t left = blob.size_bytes > have ? blob.size_bytes - have : 0;
  if (const std::uint64_t room = host::free_bytes(store.folder()); left > room) {
    throw Error(ErrorCode::disk_full,
                fmt::format("{} has room for {}, and {} of {} are to come", store.folder().string(), format_bytes(room),
                            format_bytes(left), blob.digest.str()),
                "Make room and say the same again.");
  }
  client.fetch_blob(repository, blob, file, on_bytes);
}

std::string place(const Client& client, const Reference& reference) {
  return client.registry() + "/" + reference.repository;
}

}  // namespace

Moved push(const store::Store& store, const Digest& root, Client& client, const Reference& to, const Options& options) {
  const Waypoints waypoints(store);
  Ends ends;
  ends.read = [&](const std::string& reference) { return read_from_store(store, reference); };
  ends.about = [&](const Digest& subject) {
    std::vector<Digest> digests;
    for (const store::Artifact& artifact : store.artifacts_of(subject)) {
      if (!options.goes || options.goes(artifact)) digests.push_back(artifact.manifest);
    }
    return digests;
  };
  ends.move = [&](const store::Blob& blob, const OnBytes& on_bytes) {
    const std::string known = waypoints.known_in(client.registry(), blob.digest);
    Outcome outcome = Outcome::there;
    if (!client.has_blob(to.repository, blob.digest)) {
      Upload upload{blob, store.path_of(blob.digest), waypoints.outgoing(client.registry(), to.repository, blob.digest),
                    known == to.repository ? "" : known};
      if (!store.has(blob.digest)) {
        throw Error(ErrorCode::not_found,
                    fmt::format("the store has no blob {}, which the image needs", blob.digest.str()),
                    "Bake the image again, or pull it from where it is whole.");
      }
      outcome =
          client.push_blob(to.repository, upload, on_bytes) == Pushed::mounted ? Outcome::mounted : Outcome::moved;
    }
    waypoints.know(client.registry(), to.repository, blob.digest);
    return outcome;
  };
  write_to_registry(ends, client, to);
  return with_context(fmt::format("pushing {} to {}", root.str(), place(client, to)),
                      [&] { return transfer(ends, root.str(), options); });
}

Moved pull(Client& client, const Reference& from, store::Store& store, const Options& options) {
  const Waypoints waypoints(store);
  std::size_t left_out = 0;
  Ends ends;
  ends.read = [&](const std::string& reference) { return client.manifest(from.repository, reference); };
  ends.about = [&](const Digest& subject) { return digests_of(client.referrers(from.repository, subject)); };
  ends.has_manifest = [](const Digest&) { return false; };  // its blobs may be gone, so each is looked for
  ends.move = [&](const store::Blob& blob, const OnBytes& on_bytes) {
    Outcome outcome = Outcome::there;
    if (!store.has(blob.digest)) {
      host::FileLock lock = waypoints.lock(blob.digest);
      if (!store.has(blob.digest)) {
        const host::Path file = waypoints.incoming(blob.digest);
        fetch(client, from.repository, blob, file, store, on_bytes);
        store.put_file(file, blob.media_type);
        outcome = Outcome::moved;
      }
      lock.remove();
    }
    waypoints.know(client.registry(), from.repository, blob.digest);
    return outcome;
  };
  ends.write = [&](const Manifest& manifest, const Document& document, bool root) {
    if (!root) {
      store.put(manifest.bytes);
      return;
    }
    // The store tells artifacts apart by their type; one without would stop whoever lists them.
    if (!document.subject.digest.empty() && (document.artifact_type.empty() || document.blobs.size() < 2)) {
      ++left_out;
      return;
    }
    if (document.artifact_type == kMachine) store.image(store.put(manifest.bytes));
    store.add_manifest(manifest.bytes, manifest.media_type);
  };
  return with_context(fmt::format("pulling {}", from.str()), [&] {
    Moved moved = transfer(ends, from.manifest(), options);
    moved.referrers_left_out = left_out;
    return moved;
  });
}

Moved mirror(Client& from_client, const Reference& from, Client& to_client, const Reference& to, store::Store& store,
             const Options& options) {
  const Waypoints waypoints(store);
  const bool one_registry = from_client.registry() == to_client.registry();
  Ends ends;
  ends.read = [&](const std::string& reference) { return from_client.manifest(from.repository, reference); };
  ends.about = [&](const Digest& subject) { return digests_of(from_client.referrers(from.repository, subject)); };
  ends.move = [&](const store::Blob& blob, const OnBytes& on_bytes) {
    if (to_client.has_blob(to.repository, blob.digest)) return Outcome::there;
    if (one_registry && to_client.mount_blob(to.repository, blob, from.repository)) return Outcome::mounted;
    host::FileLock lock = waypoints.lock(blob.digest);
    Upload upload{blob, store.path_of(blob.digest),
                  waypoints.outgoing(to_client.registry(), to.repository, blob.digest),
                  one_registry ? "" : waypoints.known_in(to_client.registry(), blob.digest)};
    const bool passes_through = !store.has(blob.digest);
    if (passes_through) {
      upload.file = waypoints.incoming(blob.digest);
      fetch(from_client, from.repository, blob, upload.file, store, {});
    }
    const Pushed pushed = to_client.push_blob(to.repository, upload, on_bytes);
    std::error_code ignored;
    if (passes_through) std::filesystem::remove(upload.file, ignored);
    lock.remove();
    waypoints.know(to_client.registry(), to.repository, blob.digest);
    return pushed == Pushed::mounted ? Outcome::mounted : Outcome::moved;
  };
  write_to_registry(ends, to_client, to);
  return with_context(fmt::format("mirroring {} to {}", from.str(), place(to_client, to)),
                      [&] { return transfer(ends, from.manifest(), options); });
}

}  // namespace kiln::registry
