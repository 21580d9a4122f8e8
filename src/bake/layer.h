// LayerMaker: makes one layer, by what its step says. Private to this room.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "bake/bake.h"
#include "bake/cache.h"
#include "bake/log.h"
#include "bake/plan.h"
#include "bake/sandbox.h"

namespace kiln::bake {

// What all layers of a bake have in common; all of it outlives them. Several layers are made at once.
struct Workshop {
  const spec::App& app;
  host::Path app_folder;
  const store::Store& store;
  const Cache& cache;
  host::Clock& clock;
  const Options& options;
  Versions pins;  // of the lock file: what apt is held to where it has a choice
};

struct MadeLayer {
  host::Path file;   // erofs, in `work`
  Versions brought;  // packages that are new in it, or have another version
};

class LayerMaker {
 public:
  // `below`: the layers it depends on, lowest first. `work`: an empty folder of the store's. `on_output` sees what the
  // step prints, without secrets; may be empty.
  LayerMaker(const Workshop& shop, const PlannedLayer& layer, const std::vector<Digest>& below, host::Path work,
             StepLog& log, std::function<void(std::string_view)> on_output);

  MadeLayer make();

 private:
  void make_base(const host::Path& tree);
  void run_copy(const spec::CopyStep& step) const;
  void run_packages(const spec::PackagesStep& step, const MergedRoot& root);
  void run_commands(const spec::RunStep& step, const MergedRoot& root);
  void enable_units(const spec::EnableStep& step, const MergedRoot& root) const;
  host::CommandResult install(const spec::PackagesStep& step, const MergedRoot& root) const;
  void write_sources(const MergedRoot& root) const;
  host::CommandResult run(const MergedRoot& root, MergedRoot::Inside inside) const;
  std::vector<host::Path> layers_below() const;
  [[noreturn]] void explain_mirrors(int status) const;
  [[noreturn]] void explain_packages(const MergedRoot& root, int status) const;
  void check_locked(const Versions& installed) const;
  void require_program(const MergedRoot& root, const std::string& path, const std::string& for_what) const;
  void pin_base(std::vector<std::string>& argv) const;
  Error failed(int status) const;
  Error base_failed(int status, const std::string& release, const std::string& mirror) const;
  Error refused(const std::string& why, std::string next = {}) const;

  const Workshop& shop_;
  const PlannedLayer& layer_;
  const std::vector<Digest>& below_;
  host::Path work_;
  StepLog& log_;
  std::function<void(std::string_view)> output_;
  Versions brought_;
};

}  // namespace kiln::bake
