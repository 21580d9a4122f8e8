// Bakery: one bake: the layers of a recipe taken from the cache or made, independent ones side by side. Private to this
// room.
#pragma once

#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include "bake/bake.h"
#include "bake/cache.h"
#include "bake/layer.h"
#include "bake/log.h"
#include "bake/plan.h"

namespace kiln::bake {

class Bakery {
 public:
  // Runs the steps on this machine (not with `Options::dry`), then reads all inputs. All arguments must outlive it.
  Bakery(const spec::App& app, const host::Path& app_folder, store::Store& store, host::Clock& clock,
         const Options& options);

  const std::vector<PlannedLayer>& plan() const { return plan_; }
  const Cache& cache() const { return cache_; }

  // Every layer. A layer begins when all that it stands on are there; as many as there are processors are made at once.
  // When one fails, it is reported at once, those beside it are finished and kept, nothing else begins, and its error
  // climbs. When the bake is cancelled they are ended, and Error(cancelled) names them.
  void bake_all();
  // Those with an index below `end`, one after the other.
  void bake_until(std::size_t end);
  // Of a layer whose lower ones are there.
  bool is_cached(std::size_t index) const;
  std::vector<Digest> contents_below(const PlannedLayer& layer) const;
  // Takes a layer that is cached, without a word.
  void take(std::size_t index);

  // After bake_all: what was made, in the order of the plan.
  const std::vector<LayerReport>& layers() const { return done_; }
  store::Image name_image();
  const host::Path& log_path() const { return log_.path(); }
  // The lock file as this bake leaves it; none when there is no lock file and none was asked for.
  const std::optional<LockFile>& lock() const { return lock_; }

 private:
  std::vector<PlannedLayer> make_plan();
  void run_host_steps();
  bool begin_what_can(std::vector<std::thread>& threads);
  bool is_ready(std::size_t index) const;
  void bake_one(std::size_t index);
  bool may_reuse(const PlannedLayer& layer) const;
  LayerReport take_or_make(std::size_t index);
  void make(std::size_t index, LayerReport& report);
  void learn_versions(PlannedLayer& layer, const Versions& brought);
  void check_beside();
  bool is_cancelled() const { return options_.cancelled && options_.cancelled(); }
  Error interrupted() const;
  void report(std::size_t index, Progress::Kind kind, Duration duration, bool reused = false);
  void report_output(std::size_t index, std::string_view output);
  void tell(const Progress& progress);

  const spec::App& app_;
  host::Path app_folder_;
  store::Store& store_;
  host::Clock& clock_;
  const Options& options_;
  Cache cache_;
  BakeLog log_;
  std::optional<LockFile> lock_;
  std::vector<PlannedLayer> plan_;
  Workshop shop_;

  enum class State { waiting, running, done };
  mutable std::mutex mutex_;  // of all below, while threads run
  std::condition_variable changed_;
  std::vector<State> states_;
  std::vector<LayerReport> done_;
  std::size_t running_ = 0;
  std::exception_ptr failure_;
  std::vector<std::size_t> cut_off_;  // layers that were being made when the bake was cancelled
  std::mutex telling_;                // one call of on_progress at a time
};

// The lock file that a bake with these options begins with. Throws Error(usage) when it is of another base.
std::optional<LockFile> lock_to_begin_with(const spec::App& app, const host::Path& app_folder, const Options& options);
// The layers of a base that is not Debian. Throws Error(unsupported) when nobody supplies them.
std::vector<store::Blob> given_base(const spec::App& app, const host::Path& app_folder, const Options& options);

}  // namespace kiln::bake
