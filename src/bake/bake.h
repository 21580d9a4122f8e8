// Bake: how a recipe becomes an image.
//
// The base and each step are a layer. A layer's key is the digest of what it depends on (bake/plan.h); a layer whose
// key is in the cache is not made again. The same recipe and the same inputs give the same image digest, also with an
// empty cache. Interrupted anywhere, kill -9 included, no mount, process or half layer stays: work is done in a mount
// namespace that dies with the process, below a folder that the next bake removes. Several bakes may share cache and
// store.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/time.h"
#include "host/clock.h"
#include "host/file.h"
#include "spec/app.h"
#include "store/store.h"

namespace kiln::bake {

struct Progress {
  enum class Kind { started, output, finished };
  Kind kind = Kind::started;
  std::size_t index = 0;  // of the layer; 0 is the base
  std::size_t count = 0;  // layers in all
  std::string step;       // "base debian:bookworm", "packages nginx"
  std::string output;     // a piece of what the step prints; for Kind::output
  bool reused = false;    // for Kind::finished
  Duration duration{};    // for Kind::finished
};

struct Options {
  host::Path cache;  // made when missing: $KILN_HOME/cache
  host::Path logs;   // one file a bake: $KILN_HOME/logs/bake
  std::string kiln_version;
  bool use_cache = true;  // false: every layer is made again, and the cache takes the new ones
  std::string mirror = "http://deb.debian.org/debian";
  std::string security_mirror = "http://deb.debian.org/debian-security";
  std::function<void(const Progress&)> on_progress;  // one call at a time, while `bake` has not returned
};

struct LayerReport {
  std::string step;
  Digest key;
  store::Blob blob;
  bool reused = false;
  Duration duration{};
};

struct BakeResult {
  store::Image image;
  std::string version;
  std::vector<LayerReport> layers;
  Duration duration{};
  // Tags for whatever holds the image: kiln:app, kiln:version, kiln:recipe, kiln:base, kiln:built, kiln:tool, and
  // kiln:commit when the app's folder is in a git repository. None of them is part of the image's digest.
  std::map<std::string, std::string> tags;
};

// `app_folder` holds kiln.yaml. Throws Error: usage (the recipe names what is not there, quoting its line), io (a step
// failed: its line, exit status, last lines, the log, the way into a shell), denied (no root), missing_program,
// unsupported (no erofs or overlay), disk_full, unavailable (the mirror does not answer).
BakeResult bake(const spec::App& app, const host::Path& app_folder, store::Store& store, host::Clock& clock,
                const Options& options);

// Runs an interactive shell on the caller's terminal in the state before step `step` (1-based, as in the file); 0: the
// first step whose layer is not in the cache, which after a failed bake is the one that failed. Layers that are missing
// are baked first. What is changed in the shell is thrown away. Returns the shell's exit status.
int shell_at(const spec::App& app, const host::Path& app_folder, store::Store& store, host::Clock& clock,
             const Options& options, std::size_t step = 0);

// The version that a bake of this app has now. `git`: the last tag that is a semver ("v" allowed), with
// "-<commits>-g<commit>" after it when there are commits since, "0.0.0-<commits>-g<commit>" without a tag, and "-dirty"
// when the folder has changes. `timestamp`: "20261124.030156", UTC. Throws Error(usage) when there is no git
// repository.
std::string resolve_version(const spec::App& app, const host::Path& app_folder, Time now);

}  // namespace kiln::bake
