// Body: what an entry says, as JSON, for those who make views of the ledger.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>

#include "ledger/entry.h"

namespace kiln::ledger {

// Calls `take` with the entry's body. The ledger's digest covers it, so a member that is missing or of another type
// means damage: what `take` throws about the JSON becomes an Error(corrupt) that names the entry. Other errors climb.
void read_body(const Entry& entry, const std::function<void(const nlohmann::json&)>& take);

}  // namespace kiln::ledger
