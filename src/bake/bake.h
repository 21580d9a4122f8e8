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

class BaseImages;  // bake/base_images.h

struct Progress {
  enum class Kind { started, output, finished, failed, interrupted };
  Kind kind = Kind::started;
  std::size_t index = 0;  // of the layer; 0 is the base
  std::size_t count = 0;  // layers in all
  std::string step;       // "base debian:bookworm", "packages nginx"
  std::string output;     // a piece of what the step prints; for Kind::output
  bool reused = false;    // for Kind::finished
  Duration duration{};    // for Kind::finished, failed and interrupted
};

struct Options {
  host::Path cache;  // made when missing: $KILN_HOME/cache
  host::Path logs;   // one file a bake: $KILN_HOME/logs/bake
  std::string kiln_version;
  bool use_cache = true;  // false: every layer is made again, and the cache takes the new ones
  std::string mirror = "http://deb.debian.org/debian";
  std::string security_mirror = "http://deb.debian.org/debian-security";
  // One call at a time, from any thread, while `bake` has not returned. Layers that do not need each other are made at
  // once, so that their calls are mixed: `index` tells them apart.
  std::function<void(const Progress&)> on_progress;
  // Asked from any thread. Once true, what runs is ended within seconds, and Error(cancelled) climbs.
  std::function<bool()> cancelled;
  BaseImages* base_images = nullptr;  // who has the layers of a base that is not Debian
  std::size_t at_once = 0;            // layers that are made at once; 0: one a processor
  bool update = false;                // packages are resolved anew, and kiln.lock is written
  bool dry = false;                   // steps on this machine are not run
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
  host::Path log;  // the folder of the steps' output; it is not there when nothing had to be made
  // Tags for whatever holds the image: kiln:app, kiln:version, kiln:recipe, kiln:base, kiln:built, kiln:tool, and
  // kiln:commit when the app's folder is in a git repository. None of them is part of the image's digest.
  std::map<std::string, std::string> tags;
};

// `app_folder` holds kiln.yaml. Throws Error: usage (the recipe names what is not there, quoting its line), io (a step
// failed: its line, exit status, last lines, the log, the way into a shell), denied (no root), missing_program,
// unsupported (no erofs or overlay), disk_full, unavailable (the mirror does not answer), cancelled (it names the steps
// that were cut off; complete layers stay in the cache).
//
// With a kiln.lock in the folder, packages are the versions that it names or the bake fails (unavailable); what a new
// step brings is added to it. Without one, and without `update`, none is written.
BakeResult bake(const spec::App& app, const host::Path& app_folder, store::Store& store, host::Clock& clock,
                const Options& options);

// What a bake would do with each layer now, and why. Makes nothing.
struct Explanation {
  enum class Fate {
    reused,
    made,
    open
  };  // open: it stands on a layer that is made anew; the same content, and it is reused
  std::string step;
  Fate fate = Fate::reused;
  std::vector<std::string> why;
};
std::vector<Explanation> explain(const spec::App& app, const host::Path& app_folder, store::Store& store,
                                 host::Clock& clock, const Options& options);

// A file that two bakes made differently: "mode 0644 and 0600", "content", "only in the first bake".
struct Difference {
  std::string step;
  std::string path;
  std::string what;
};
struct CheckResult {
  BakeResult baked;  // the first of the two
  std::vector<Difference> differences;
};
// Bakes, bakes once more with an empty cache, and compares file by file. A layer whose lower ones already differ is not
// looked at: what it has is their fault as long as they are not the same.
CheckResult check(const spec::App& app, const host::Path& app_folder, store::Store& store, host::Clock& clock,
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
