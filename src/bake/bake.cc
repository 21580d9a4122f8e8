// Bake: what is asked of a bakery: an image, a reason, a comparison, a shell.
#include "bake/bake.h"

#include <fmt/format.h>

#include <algorithm>

#include "bake/bakery.h"
#include "bake/git.h"
#include "bake/layer_key.h"
#include "bake/overlap.h"
#include "bake/record.h"
#include "bake/sandbox.h"

namespace kiln::bake {
namespace {

std::vector<RecordedLayer> record_of(const Bakery& bakery) {
  std::vector<RecordedLayer> record;
  for (std::size_t i = 0; i < bakery.plan().size(); ++i) {
    record.push_back(recorded(bakery.plan()[i], bakery.contents_below(bakery.plan()[i])));
    record.back().content = bakery.layers()[i].blob.digest;
  }
  return record;
}

// A base of several layers is known by the topmost.
std::string base_tag(const spec::App& app, const Bakery& bakery) {
  Digest content;
  for (std::size_t i = 0; i < bakery.plan().size() && bakery.plan()[i].step == nullptr; ++i)
    content = bakery.layers()[i].blob.digest;
  return fmt::format("{}@{}", base_text(app), content.str());
}

BakeResult finish(const spec::App& app, const host::Path& app_folder, Bakery& bakery, host::Clock& clock,
                  const Options& options) {
  BakeResult result;
  result.image = bakery.name_image();
  result.layers = bakery.layers();
  result.log = bakery.log_path();
  result.tags = {{"kiln:app", app.name},
                 {"kiln:recipe", recipe_digest(app, bakery.plan()).str()},
                 {"kiln:base", base_tag(app, bakery)},
                 {"kiln:built", format_iso8601(clock.now())},
                 {"kiln:tool", "kiln " + options.kiln_version}};
  if (const std::string commit = git_commit(app_folder); !commit.empty()) result.tags["kiln:commit"] = commit;
  return result;
}

Explanation explain_layer(const Bakery& bakery, std::size_t index, const std::vector<bool>& known,
                          const std::optional<std::vector<RecordedLayer>>& record) {
  const PlannedLayer& layer = bakery.plan()[index];
  Explanation explained{.step = layer.text, .fate = Explanation::Fate::made, .why = {}};
  const auto open = std::ranges::find_if(layer.below, [&](std::size_t lower) { return !known[lower]; });
  if (open == layer.below.end() && bakery.is_cached(index)) {
    explained.fate = Explanation::Fate::reused;
    return explained;
  }
  if (record) {
    const bool complete = open == layer.below.end();
    RecordedLayer now = recorded(layer, complete ? bakery.contents_below(layer) : std::vector<Digest>{});
    if (!complete) {
      const auto last = std::ranges::find(*record, now.text, &RecordedLayer::text);
      if (last != record->end()) now.below = last->below;
    }
    explained.why = reasons(now, *record, index);
  } else {
    explained.why.push_back("no bake of this app is on record");
  }
  if (open != layer.below.end()) {
    if (explained.why.empty()) explained.fate = Explanation::Fate::open;
    explained.why.push_back(fmt::format("'{}' below it is made anew", bakery.plan()[*open].text));
  }
  if (explained.why.empty()) explained.why.emplace_back("nothing changed, but the cache no longer has it");
  return explained;
}

}  // namespace

BakeResult bake(const spec::App& app, const host::Path& app_folder, store::Store& store, host::Clock& clock,
                const Options& options) {
  const Duration started = clock.uptime();
  const std::string version = resolve_version(app, app_folder, clock.now());
  Bakery bakery(app, app_folder, store, clock, options);
  bakery.bake_all();
  BakeResult result = finish(app, app_folder, bakery, clock, options);
  result.version = result.tags["kiln:version"] = version;
  if (bakery.lock()) write_lock_file(app_folder, *bakery.lock());
  write_record(options.cache, app.name, record_of(bakery));
  result.duration = clock.uptime() - started;
  return result;
}

std::vector<Explanation> explain(const spec::App& app, const host::Path& app_folder, store::Store& store,
                                 host::Clock& clock, const Options& options) {
  Options dry = options;
  dry.dry = true;
  Bakery bakery(app, app_folder, store, clock, dry);
  const auto record = read_record(options.cache, app.name);
  std::vector<Explanation> explained;
  std::vector<bool> known(bakery.plan().size(), false);
  for (std::size_t i = 0; i < known.size(); ++i) {
    explained.push_back(explain_layer(bakery, i, known, record));
    known[i] = explained.back().fate == Explanation::Fate::reused;
    if (known[i]) bakery.take(i);
  }
  return explained;
}

CheckResult check(const spec::App& app, const host::Path& app_folder, store::Store& store, host::Clock& clock,
                  const Options& options) {
  CheckResult result{.baked = bake(app, app_folder, store, clock, options), .differences = {}};
  // What apt has fetched is the same for both; everything else is made again, and kept nowhere.
  const host::TemporaryFolder cache("check-", options.cache);
  std::filesystem::create_directory_symlink(std::filesystem::absolute(options.cache) / "apt", cache.path() / "apt");
  Options again = options;
  again.cache = cache.path();
  again.update = false;
  Bakery bakery(app, app_folder, store, clock, again);
  bakery.bake_all();
  std::vector<bool> differs(bakery.plan().size(), false);
  for (std::size_t i = 0; i < differs.size(); ++i) {
    const Digest first = result.baked.layers[i].blob.digest, second = bakery.layers()[i].blob.digest;
    differs[i] = first != second;
    const bool own = std::ranges::none_of(bakery.plan()[i].below, [&](std::size_t lower) { return differs[lower]; });
    if (!differs[i] || !own) continue;
    const auto work = store.temporary();
    for (Difference& difference : compare_layers(store.path_of(first), store.path_of(second), work->path())) {
      difference.step = bakery.plan()[i].text;
      result.differences.push_back(std::move(difference));
    }
  }
  return result;
}

int shell_at(const spec::App& app, const host::Path& app_folder, store::Store& store, host::Clock& clock,
             const Options& options, std::size_t step) {
  Bakery bakery(app, app_folder, store, clock, options);
  const auto& plan = bakery.plan();
  const std::size_t count = app.image.steps.size();
  if (step > count) throw Error(ErrorCode::usage, fmt::format("there is no step {}; the recipe has {}", step, count));
  std::size_t end = 0;
  while (end < plan.size() && plan[end].step == nullptr) ++end;
  // The base is no step: there is no state before it to look at.
  bakery.bake_until(end);
  for (; end < plan.size(); ++end) {
    if (step == 0 ? !bakery.is_cached(end) : plan[end].step >= &app.image.steps[step - 1]) break;
    bakery.bake_until(end + 1);
  }

  check_can_mount();
  std::vector<host::Path> layers;
  for (std::size_t i = 0; i < end; ++i) layers.push_back(store.path_of(bakery.layers()[i].blob.digest));
  const auto work = store.temporary();
  int status = 0;
  with_private_mounts([&] {
    const MergedRoot root(work->path(), layers, true);
    status = root.run({.argv = {"/bin/bash", "-l"}, .binds = {}, .on_output = {}, .terminal = true}).status;
  });
  return status;
}

}  // namespace kiln::bake
