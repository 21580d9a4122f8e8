// Bake: plan the layers, take or make each, name the image.
#include "bake/bake.h"

#include <fmt/format.h>

#include "bake/cache.h"
#include "bake/git.h"
#include "bake/layer.h"
#include "bake/log.h"
#include "bake/plan.h"
#include "bake/sandbox.h"

namespace kiln::bake {
namespace {

class Bakery {
 public:
  Bakery(const spec::App& app, const host::Path& app_folder, store::Store& store, host::Clock& clock,
         const Options& options)
      : app_(app),
        store_(store),
        clock_(clock),
        options_(options),
        cache_(options.cache, store),
        plan_(plan_layers(app, app_folder)),
        log_(options.logs, app.name, clock.now()),
        maker_(app, store, cache_, clock, options, log_) {}

  const std::vector<PlannedLayer>& plan() const { return plan_; }
  const std::vector<LayerReport>& done() const { return done_; }

  // Takes the next layer from the cache or makes it.
  void bake_next() {
    const PlannedLayer& layer = plan_[done_.size()];
    report(Progress::Kind::started, {});
    const Duration started = clock_.uptime();
    LayerReport made{.step = layer.text, .key = layer_key(layer, contents_below(layer)), .blob = {}};
    if (const auto cached = options_.use_cache ? cache_.find(made.key) : std::nullopt) {
      made.blob = *cached;
      made.reused = true;
    } else {
      std::tie(made.blob, made.reused) = take_or_make(layer, made.key);
    }
    made.duration = clock_.uptime() - started;
    report(Progress::Kind::finished, {}, &made);
    done_.push_back(std::move(made));
  }

  // True when the next layer would not have to be made.
  bool next_is_cached() const {
    return cache_.find(layer_key(plan_[done_.size()], contents_below(plan_[done_.size()]))).has_value();
  }

  store::Image name_image() {
    store::ImageConfig config;
    config.app = app_.name;
    config.read_only_root = app_.image.writable.has_value();
    config.writable = app_.image.writable.value_or(std::vector<std::string>{});
    std::vector<store::Blob> layers;
    for (const LayerReport& layer : done_) {
      layers.push_back(layer.blob);
      config.history.push_back(layer.step);
    }
    return store_.image(store_.add_image(config, layers));
  }

 private:
  // Another bake may have made it while we waited for the lock.
  std::pair<store::Blob, bool> take_or_make(const PlannedLayer& layer, const Digest& key) {
    const auto lock = cache_.lock(key, clock_.now());
    if (options_.use_cache) {
      if (const auto cached = cache_.find(key)) return {*cached, true};
    }
    return with_context(fmt::format("baking {}", layer.text), [&]() -> std::pair<store::Blob, bool> {
      const auto work = store_.temporary();
      const auto output = [&](std::string_view bytes) { report(Progress::Kind::output, bytes); };
      const host::Path file = maker_.make(layer, contents_below(layer), work->path(), output);
      store::Blob blob = store_.put_file(file, std::string(store::kErofsLayerType));
      cache_.put(key, blob);
      return {std::move(blob), false};
    });
  }

  std::vector<Digest> contents_below(const PlannedLayer& layer) const {
    std::vector<Digest> contents;
    for (const std::size_t index : layer.below) contents.push_back(done_.at(index).blob.digest);
    return contents;
  }

  void report(Progress::Kind kind, std::string_view output, const LayerReport* made = nullptr) const {
    if (!options_.on_progress) return;
    options_.on_progress({.kind = kind,
                          .index = done_.size(),
                          .count = plan_.size(),
                          .step = plan_[done_.size()].text,
                          .output = std::string(output),
                          .reused = made != nullptr && made->reused,
                          .duration = made != nullptr ? made->duration : Duration{}});
  }

  const spec::App& app_;
  store::Store& store_;
  host::Clock& clock_;
  const Options& options_;
  Cache cache_;
  std::vector<PlannedLayer> plan_;
  BakeLog log_;
  LayerMaker maker_;
  std::vector<LayerReport> done_;
};

}  // namespace

BakeResult bake(const spec::App& app, const host::Path& app_folder, store::Store& store, host::Clock& clock,
                const Options& options) {
  const Duration started = clock.uptime();
  BakeResult result;
  result.version = resolve_version(app, app_folder, clock.now());
  Bakery bakery(app, app_folder, store, clock, options);
  while (bakery.done().size() < bakery.plan().size()) bakery.bake_next();
  result.image = bakery.name_image();
  result.layers = bakery.done();
  result.tags = {
      {"kiln:app", app.name},
      {"kiln:version", result.version},
      {"kiln:recipe", recipe_digest(app, bakery.plan()).str()},
      {"kiln:base", fmt::format("debian:{}@{}", debian_release(app), result.layers.front().blob.digest.str())},
      {"kiln:built", format_iso8601(clock.now())},
      {"kiln:tool", "kiln " + options.kiln_version}};
  if (const std::string commit = git_commit(app_folder); !commit.empty()) result.tags["kiln:commit"] = commit;
  result.duration = clock.uptime() - started;
  return result;
}

int shell_at(const spec::App& app, const host::Path& app_folder, store::Store& store, host::Clock& clock,
             const Options& options, std::size_t step) {
  Bakery bakery(app, app_folder, store, clock, options);
  const std::size_t count = bakery.plan().size();
  if (step >= count)
    throw Error(ErrorCode::usage, fmt::format("there is no step {}; the recipe has {}", step, count - 1));
  // The base is no step: there is no state before it to look at.
  bakery.bake_next();
  while (bakery.done().size() < count && (step == 0 ? bakery.next_is_cached() : bakery.done().size() < step))
    bakery.bake_next();

  check_can_mount();
  std::vector<host::Path> layers;
  for (const LayerReport& layer : bakery.done()) layers.push_back(store.path_of(layer.blob.digest));
  const auto work = store.temporary();
  int status = 0;
  with_private_mounts([&] {
    const MergedRoot root(work->path(), layers, true);
    status = root.run({.argv = {"/bin/bash", "-l"}, .binds = {}, .on_output = {}, .terminal = true}).status;
  });
  return status;
}

}  // namespace kiln::bake
