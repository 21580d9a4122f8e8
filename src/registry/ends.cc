// Ends: collect what belongs to the image, move its blobs side by side, write its manifests from the leaves up.
#include "registry/internal/ends.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <exception>
#include <mutex>
#include <set>
#include <thread>

#include "base/error.h"
#include "base/text.h"
#include "store/manifest.h"

namespace kiln::registry {
namespace {

constexpr int kDepthMax = 4;                 // an index of indexes of indexes is a joke or an attack
constexpr std::size_t kManifestsMax = 2000;  // of one image with all that is said about it

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

}  // namespace

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

void read_from_store(Ends& ends, const store::Store& store, const Options& options) {
  ends.read = [&store](const std::string& reference) {
    const Digest digest = Digest::parse(reference);
    return Manifest{store.read(digest), "", digest};
  };
  ends.about = [&store, &options](const Digest& subject) {
    std::vector<Digest> digests;
    for (const store::Artifact& artifact : store.artifacts_of(subject)) {
      if (!options.goes || options.goes(artifact)) digests.push_back(artifact.manifest);
    }
    return digests;
  };
}

void read_from_registry(Ends& ends, Client& client, const Reference& from) {
  ends.read = [&client, &from](const std::string& reference) { return client.manifest(from.repository, reference); };
  ends.about = [&client, &from](const Digest& subject) {
    std::vector<Digest> digests;
    for (const Referrer& referrer : client.referrers(from.repository, subject)) {
      digests.push_back(referrer.manifest.digest);
    }
    return digests;
  };
}

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

void write_to_store(Ends& ends, store::Store& store, std::size_t& left_out) {
  ends.has_manifest = [](const Digest&) { return false; };  // its blobs may be gone, so each is looked for
  ends.write = [&store, &left_out](const Manifest& manifest, const Document& document, bool root) {
    if (!root) {
      store.put(manifest.bytes);
      return;
    }
    // The store tells artifacts apart by their type; one without would stop whoever lists them.
    if (!document.subject.digest.empty() && (document.artifact_type.empty() || document.blobs.size() < 2)) {
      ++left_out;
      return;
    }
    if (document.artifact_type == store::kMachineArtifactType) store.image(store.put(manifest.bytes));
    store.add_manifest(manifest.bytes, manifest.media_type);
  };
}

Outcome send(Client& client, const Reference& to, const store::Blob& blob, const host::Path& file,
             const Waypoints& waypoints, const OnBytes& on_bytes) {
  const std::string known = waypoints.known_in(client.registry(), blob.digest);
  Outcome outcome = Outcome::there;
  if (!client.has_blob(to.repository, blob.digest)) {
    const Upload upload{blob, file, waypoints.outgoing(client.registry(), to.repository, blob.digest),
                        known == to.repository ? "" : known};
    if (!std::filesystem::exists(file)) {
      throw Error(ErrorCode::not_found,
                  fmt::format("the blob {}, which the image needs, is not here: {}", blob.digest.str(), file.string()),
                  "Bake the image again, or pull it from where it is whole.");
    }
    outcome = client.push_blob(to.repository, upload, on_bytes) == Pushed::mounted ? Outcome::mounted : Outcome::moved;
  }
  waypoints.know(client.registry(), to.repository, blob.digest);
  return outcome;
}

void fetch(Client& client, const Reference& from, const store::Blob& blob, const host::Path& file,
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
  client.fetch_blob(from.repository, blob, file, on_bytes);
}

}  // namespace kiln::registry
