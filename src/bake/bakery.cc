// Bakery: the schedule.
#include "bake/bakery.h"

#include <fmt/format.h>

#include <algorithm>

#include "bake/base_images.h"
#include "bake/layer_key.h"
#include "bake/overlap.h"
#include "base/mask.h"
#include "base/text.h"

namespace kiln::bake {

std::optional<LockFile> lock_to_begin_with(const spec::App& app, const host::Path& app_folder, const Options& options) {
  if (options.update) return LockFile{.base = base_text(app), .base_versions = {}, .steps = {}};
  std::optional<LockFile> lock = read_lock_file(app_folder);
  if (lock && lock->base != base_text(app)) {
    throw Error(ErrorCode::usage,
                fmt::format("{} is of '{}', and {} begins with '{}'", kLockFile, lock->base, app.source.file_name,
                            base_text(app)),
                "renew it: kiln bake --update");
  }
  return lock;
}

std::vector<store::Blob> given_base(const spec::App& app, const host::Path& app_folder, const Options& options) {
  if (!std::holds_alternative<std::monostate>(app.image.source))
    throw Error(ErrorCode::unsupported, "an image that another file describes is not baked by this version",
                "write its steps into kiln.yaml");
  if (!debian_release(app).empty()) return {};
  std::vector<store::Blob> layers;
  if (options.base_images != nullptr) layers = options.base_images->layers_of(app, app_folder.string());
  if (layers.empty())
    throw app.source.error(app.image.where, fmt::format("the base '{}' is not served by this version", base_text(app)));
  return layers;
}

Bakery::Bakery(const spec::App& app, const host::Path& app_folder, store::Store& store, host::Clock& clock,
               const Options& options)
    : app_(app),
      app_folder_(app_folder),
      store_(store),
      clock_(clock),
      options_(options),
      cache_(options.cache, store),
      log_(options.logs, app.name, clock.now()),
      lock_(lock_to_begin_with(app, app_folder, options)),
      plan_(make_plan()),
      shop_{.app = app,
            .app_folder = app_folder,
            .store = store,
            .cache = cache_,
            .clock = clock,
            .options = options,
            .pins = lock_ ? lock_->all() : Versions{}},
      states_(plan_.size(), State::waiting),
      done_(plan_.size()) {}

std::vector<PlannedLayer> Bakery::make_plan() {
  const std::vector<store::Blob> given = given_base(app_, app_folder_, options_);
  if (!options_.dry) run_host_steps();
  return plan_layers(app_, app_folder_, given, lock_ ? &*lock_ : nullptr);
}

void Bakery::run_host_steps() {
  for (const spec::Step& step : app_.image.steps) {
    const auto* host_step = std::get_if<spec::HostStep>(&step.action);
    if (host_step == nullptr) continue;
    const std::string title = masked(step.text(), app_.image.hidden);
    StepLog log = log_.begin_step(0, title);
    Mask mask(app_.image.hidden, [&](std::string_view bytes) { log.write(bytes); });
    for (const std::string& text : host_step->commands) {
      host::Command command;
      command.argv = host_step->shell;
      command.argv.push_back(text);
      command.env = host_step->environment;
      command.cwd = app_folder_.string();
      command.on_output = [&](std::string_view bytes) { mask.write(bytes); };
      command.cancelled = options_.cancelled;
      const int status = host::run(command).status;
      mask.finish();
      if (status == 0) continue;
      throw Error(ErrorCode::io,
                  fmt::format("{}: the step '{}' failed on this machine with status {}\n{}\nIts last lines:\n{}",
                              app_.source.at(step.where), title, status, app_.source.quote(step.where),
                              last_lines(log.tail(), 20)),
                  fmt::format("the whole output is in {}", log.path().string()));
    }
  }
}

void Bakery::bake_all() {
  std::vector<std::thread> threads;
  {
    std::unique_lock lock(mutex_);
    while (begin_what_can(threads) || running_ > 0) {
      if (running_ > 0) changed_.wait(lock);
    }
  }
  for (std::thread& thread : threads) thread.join();
  if (is_cancelled()) throw interrupted();
  if (failure_) std::rethrow_exception(failure_);
  check_beside();
}

// True when something was begun or taken, so that it is worth to look again.
bool Bakery::begin_what_can(std::vector<std::thread>& threads) {
  const std::size_t at_once =
      options_.at_once > 0 ? options_.at_once : std::max(1U, std::thread::hardware_concurrency());
  bool begun = false;
  for (std::size_t i = 0; i < plan_.size() && !failure_ && !is_cancelled(); ++i) {
    if (!is_ready(i) || running_ >= at_once) continue;
    states_[i] = State::running;
    ++running_;
    begun = true;
    threads.emplace_back([this, i] {
      std::exception_ptr failure;
      try {
        bake_one(i);
      } catch (...) {
        failure = std::current_exception();
      }
      const std::lock_guard lock(mutex_);
      if (!failure_) failure_ = failure;
      states_[i] = failure ? State::waiting : State::done;
      --running_;
      changed_.notify_one();
    });
  }
  return begun;
}

bool Bakery::is_ready(std::size_t index) const {
  return states_[index] == State::waiting &&
         std::ranges::all_of(plan_[index].below, [&](std::size_t lower) { return states_[lower] == State::done; });
}

void Bakery::bake_until(std::size_t end) {
  for (std::size_t i = 0; i < end; ++i) {
    if (states_[i] == State::done) continue;
    if (is_cancelled()) throw interrupted();
    try {
      bake_one(i);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::cancelled) throw interrupted();
      throw;
    }
    states_[i] = State::done;
  }
}

void Bakery::bake_one(std::size_t index) {
  report(index, Progress::Kind::started, {});
  const Duration started = clock_.uptime();
  LayerReport made;
  try {
    made = take_or_make(index);
  } catch (const Error& error) {
    const bool cut_off = error.code() == ErrorCode::cancelled;
    report(index, cut_off ? Progress::Kind::interrupted : Progress::Kind::failed, clock_.uptime() - started);
    if (cut_off) {
      const std::lock_guard lock(mutex_);
      cut_off_.push_back(index);
    }
    throw;
  }
  made.duration = clock_.uptime() - started;
  report(index, Progress::Kind::finished, made.duration, made.reused);
  const std::lock_guard lock(mutex_);
  done_[index] = std::move(made);
}

Error Bakery::interrupted() const {
  std::vector<std::string> steps;
  for (const std::size_t index : cut_off_) steps.push_back(fmt::format("'{}'", plan_[index].text));
  return {ErrorCode::cancelled,
          steps.empty() ? "interrupted between two steps"
                        : fmt::format("interrupted while {} was made", join(steps, " and ")),
          "layers that were complete are kept: the same command goes on from them"};
}

bool Bakery::is_cached(std::size_t index) const {
  if (plan_[index].given) return true;
  return may_reuse(plan_[index]) && cache_.find(layer_key(plan_[index], contents_below(plan_[index]))).has_value();
}

void Bakery::take(std::size_t index) {
  LayerReport taken = take_or_make(index);
  const std::lock_guard lock(mutex_);
  done_[index] = std::move(taken);
  states_[index] = State::done;
}

// With a lock file a layer of packages is only known by the versions in it.
bool Bakery::may_reuse(const PlannedLayer& layer) const {
  const bool packages = layer.step == nullptr || std::holds_alternative<spec::PackagesStep>(layer.step->action);
  return options_.use_cache && (!lock_ || !packages || layer.locked);
}

LayerReport Bakery::take_or_make(std::size_t index) {
  PlannedLayer& layer = plan_[index];
  LayerReport made{.step = layer.text, .key = {}, .blob = {}};
  if (layer.given) {
    made.key = layer.recipe;
    made.blob = *layer.given;
    made.reused = true;
    return made;
  }
  made.key = layer_key(layer, contents_below(layer));
  const auto take = [&] {
    const auto cached = may_reuse(layer) ? cache_.find(made.key) : std::nullopt;
    if (cached) made.blob = *cached;
    return made.reused = cached.has_value();
  };
  if (take()) return made;
  const auto lock = cache_.lock(made.key, clock_.now(), options_.cancelled,
                                [&](std::string_view line) { report_output(index, line); });
  // Another bake may have made it while we waited for the lock.
  if (!take()) with_context(fmt::format("baking {}", layer.text), [&] { make(index, made); });
  return made;
}

void Bakery::make(std::size_t index, LayerReport& made) {
  PlannedLayer& layer = plan_[index];
  const auto work = store_.temporary();
  const std::vector<Digest> below = contents_below(layer);
  StepLog log = log_.begin_step(index, layer.text);
  LayerMaker maker(shop_, layer, below, work->path(), log,
                   [&](std::string_view bytes) { report_output(index, bytes); });
  const MadeLayer result = maker.make();
  made.blob = store_.put_file(result.file, std::string(store::kErofsLayerType));
  if (lock_) learn_versions(layer, result.brought);
  made.key = layer_key(layer, below);
  cache_.put(made.key, made.blob);
}

// Into the lock file, and into the layer's key: the next bake finds it under what it brought.
void Bakery::learn_versions(PlannedLayer& layer, const Versions& brought) {
  if (layer.locked) return;
  const std::lock_guard lock(mutex_);
  if (layer.step == nullptr) {
    layer.locked = lock_->base_versions = brought;
  } else if (const auto* packages = std::get_if<spec::PackagesStep>(&layer.step->action)) {
    layer.locked = brought;
    lock_->steps.push_back({packages->packages, brought});
  }
}

std::vector<Digest> Bakery::contents_below(const PlannedLayer& layer) const {
  const std::lock_guard lock(mutex_);
  std::vector<Digest> contents;
  for (const std::size_t index : layer.below) contents.push_back(done_.at(index).blob.digest);
  return contents;
}

// Two layers that know nothing of each other and write the same path: which of them counts would be chance.
void Bakery::check_beside() {
  for (std::size_t upper = 0; upper < plan_.size(); ++upper) {
    for (const std::size_t lower : plan_[upper].beside) {
      const Digest below = done_[lower].blob.digest, above = done_[upper].blob.digest;
      if (cache_.is_apart(below, above)) continue;
      const auto work = store_.temporary();
      const std::string path = common_path(store_.path_of(below), store_.path_of(above), work->path());
      if (!path.empty()) {
        throw app_.source.error(plan_[upper].step->where,
                                fmt::format("'{}' and '{}' do not wait for each other, and both write {}",
                                            plan_[lower].text, plan_[upper].text, path),
                                "name the first in the second's 'after'");
      }
      cache_.note_apart(below, above);
    }
  }
}

store::Image Bakery::name_image() {
  store::ImageConfig config;
  config.app = app_.name;
  config.read_only_root = app_.image.writable.has_value();
  config.writable = app_.image.writable.value_or(std::vector<std::string>{});
  std::vector<store::Blob> layers;
  for (std::size_t i = 0; i < done_.size(); ++i) {
    // Of layers that are the same bytes the topmost says it all, and overlayfs takes none twice.
    const Digest content = done_[i].blob.digest;
    if (std::any_of(done_.begin() + static_cast<std::ptrdiff_t>(i) + 1, done_.end(),
                    [&](const LayerReport& above) { return above.blob.digest == content; }))
      continue;
    layers.push_back(done_[i].blob);
    config.history.push_back(done_[i].step);
  }
  if (!lock_) return store_.image(store_.add_image(config, layers));
  // Steps that are gone from the recipe go from the lock file, and the order is the recipe's.
  std::vector<LockFile::Step> steps;
  for (const PlannedLayer& layer : plan_) {
    const auto* packages = layer.step == nullptr ? nullptr : std::get_if<spec::PackagesStep>(&layer.step->action);
    if (packages != nullptr) steps.push_back({packages->packages, layer.locked.value_or(Versions{})});
  }
  lock_->steps = std::move(steps);
  return store_.image(store_.add_image(config, layers));
}

void Bakery::report(std::size_t index, Progress::Kind kind, Duration duration, bool reused) {
  tell({.kind = kind,
        .index = index,
        .count = plan_.size(),
        .step = plan_[index].text,
        .output = {},
        .reused = reused,
        .duration = duration});
}

void Bakery::report_output(std::size_t index, std::string_view output) {
  tell({.kind = Progress::Kind::output,
        .index = index,
        .count = plan_.size(),
        .step = plan_[index].text,
        .output = std::string(output)});
}

void Bakery::tell(const Progress& progress) {
  if (!options_.on_progress) return;
  const std::lock_guard lock(telling_);
  options_.on_progress(progress);
}

}  // namespace kiln::bake
