// Record: what the last bake of an app was made of, kept to say why the next one makes a layer again. Private to this
// room.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bake/bake.h"
#include "bake/plan.h"

namespace kiln::bake {

struct RecordedLayer {
  std::string text;
  Digest recipe;
  Digest content;
  std::vector<Digest> below;
  std::map<std::string, std::string> inputs;  // name → what it is
  Versions locked;
};

// At cache/bakes/<app>.json. A broken file is no record.
std::optional<std::vector<RecordedLayer>> read_record(const host::Path& cache, const std::string& app);
void write_record(const host::Path& cache, const std::string& app, const std::vector<RecordedLayer>& record);

// The layer as it would be recorded.
RecordedLayer recorded(const PlannedLayer& layer, const std::vector<Digest>& below);

// Why `now` is not what was recorded, a sentence each; `last` is the record it belongs to. Empty: nothing changed.
std::vector<std::string> reasons(const RecordedLayer& now, const std::vector<RecordedLayer>& record, std::size_t index);

}  // namespace kiln::bake
