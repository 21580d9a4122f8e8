// LayerMaker: makes one layer, by what its step says. Private to this room.
#pragma once

#include <functional>
#include <vector>

#include "bake/bake.h"
#include "bake/cache.h"
#include "bake/log.h"
#include "bake/plan.h"
#include "bake/sandbox.h"

namespace kiln::bake {

class LayerMaker {
 public:
  // All of them must outlive it. `on_output` sees what the steps print; may be empty.
  LayerMaker(const spec::App& app, const store::Store& store, const Cache& cache, host::Clock& clock,
             const Options& options, BakeLog& log);

  // An erofs file in `work`, an empty folder of the store's. `below`: the layers it depends on, lowest first.
  host::Path make(const PlannedLayer& layer, const std::vector<Digest>& below, const host::Path& work,
                  const std::function<void(std::string_view)>& on_output) const;

 private:
  using Output = std::function<void(std::string_view)>;

  void make_base(const host::Path& tree, const Output& output) const;
  void run_copy(const PlannedLayer& layer, const spec::CopyStep& step, const std::vector<Digest>& below,
                const host::Path& work) const;
  void run_packages(const PlannedLayer& layer, const spec::PackagesStep& step, const MergedRoot& root,
                    const Output& output) const;
  void run_commands(const PlannedLayer& layer, const spec::RunStep& step, const MergedRoot& root,
                    const Output& output) const;
  void enable_units(const PlannedLayer& layer, const spec::EnableStep& step, const MergedRoot& root,
                    const Output& output) const;
  std::vector<host::Path> paths_of(const std::vector<Digest>& layers) const;
  Error failed(const PlannedLayer& layer, int status) const;

  const spec::App& app_;
  const store::Store& store_;
  const Cache& cache_;
  host::Clock& clock_;
  const Options& options_;
  BakeLog& log_;
};

}  // namespace kiln::bake
