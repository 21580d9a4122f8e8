// Findings: of the regions of a home, and of what regions have left on the host.
#include <fmt/format.h>

#include "aws/error.h"
#include "base/error.h"
#include "cli/findings.h"
#include "cli/region_process.h"
#include "machine/remains.h"
#include "region/inventory.h"
#include "region/journal.h"

namespace kiln::cli {
namespace {

// Commands for one region: "kiln region start --name try".
std::string command(const std::string& verb, const std::string& name) {
  return "kiln region " + verb + (name == kDefaultRegion ? "" : " --name " + name);
}

std::optional<RegionRecord> read_record(const Context& context, const std::string& name, std::vector<Finding>& found) {
  try {
    return read_region_record(context, name);
  } catch (const Error& error) {
    found.push_back({"region", fmt::format("region '{}': {}", name, error.message()), error.next()});
    return std::nullopt;
  }
}

void look_at_journal(const Context& context, const std::string& name, const RegionRecord& record,
                     std::vector<Finding>& found) {
  const host::Path journal = context.region_folder(name) / "journal.db";
  if (!std::filesystem::exists(journal)) return;
  try {
    region::read_inventory(region::FileJournal(journal), record.account, record.aws_region);
  } catch (const Error& error) {
    found.push_back(
        {"region",
         fmt::format("region '{}': its journal {} cannot be read: {}", name, journal.string(), error.message()),
         fmt::format("Put it back from a copy. Without it nobody knows what the instances are for: {} ends "
                     "them and removes the region.",
                     command("reset", name))});
  }
}

void look_at_haproxy(const Context& context, const std::string& name, const RegionLook& look,
                     std::vector<Finding>& found) {
  if (!look.haproxy || host::alive(*look.haproxy)) return;
  const std::string log = (context.region_folder(name) / "region.log").string();
  found.push_back(
      {"region",
       fmt::format("region '{}': its HAProxy (process {}) is dead: no load balancer answers", name, look.haproxy->pid),
       look.serves() ? fmt::format("The control plane starts it again at once; why it cannot is in {}", log)
                     : fmt::format("The control plane starts it: {}", command("start", name))});
}

void look_at_serving(Context& context, const std::string& name, const RegionLook& look, const RegionRecord& record,
                     std::vector<Finding>& found) {
  const host::LockHolder& holder = *look.holder;
  if (record.process.pid != holder.pid) {
    found.push_back(
        {"region",
         fmt::format("region '{}' is starting, as process {} since {}", name, holder.pid, format_iso8601(holder.since)),
         fmt::format("Its log is {}", (context.region_folder(name) / "region.log").string()), false});
    return;
  }
  try {
    ask_region(context, record);
  } catch (const aws::AwsError& error) {
    found.push_back({"region",
                     fmt::format("region '{}' (process {}) answers at {}, and not to the keys in region.json: {}", name,
                                 holder.pid, record.endpoint, error.message()),
                     fmt::format("kill {}; {}", holder.pid, command("start", name))});
  } catch (const Error& error) {
    found.push_back(
        {"region",
         fmt::format("region '{}' runs as process {} since {} and does not answer at {}: {}", name, holder.pid,
                     format_iso8601(holder.since), record.endpoint, error.message()),
         fmt::format("Its log is {}. What it runs goes on without it: kill -9 {}; {}",
                     (context.region_folder(name) / "region.log").string(), holder.pid, command("start", name))});
  }
}

// Neither a control plane nor whoever ends it is there.
void look_at_dead(const Context& context, const std::string& name, const RegionLook& look,
                  const std::optional<RegionRecord>& record, std::vector<Finding>& found) {
  if (!look.slot) return;  // stopped: there is nothing of it on the host
  const machine::Remains remains = machine::remains_of(context.region_folder(name), *look.slot);
  const bool known = std::filesystem::exists(context.region_folder(name) / "region.json");
  found.push_back({"region",
                   fmt::format("region '{}': its control plane{} is dead and what it made goes on without it: {}", name,
                               record ? fmt::format(" (process {})", record->process.pid) : "", describe(remains)),
                   known ? command("start", name) + " goes on with all of it"
                         : fmt::format("Its region.json is gone: {} removes all of it", command("reset", name))});
}

void look_at_one(Context& context, const std::string& name, std::vector<Finding>& found) {
  const std::optional<RegionRecord> record = read_record(context, name, found);
  const RegionLook look = look_at_region(context, name);
  look_at_journal(context, name, record.value_or(RegionRecord{}), found);
  if (look.serves()) {
    if (record) look_at_serving(context, name, look, *record, found);
  } else if (look.holder) {
    found.push_back({"region",
                     fmt::format("region '{}' is being changed by '{}' (process {}) since {}", name, look.holder->what,
                                 look.holder->pid, format_iso8601(look.holder->since)),
                     "Wait for it.", false});
    return;
  } else {
    look_at_dead(context, name, look, record, found);
  }
  if (look.serves() || look.slot) look_at_haproxy(context, name, look, found);
}

}  // namespace

std::vector<Finding> look_at_regions(Context& context) {
  std::vector<Finding> found;
  const host::Path regions = context.home / "regions";
  if (!std::filesystem::exists(regions)) return found;
  for (const std::string& name : host::list_folder(regions)) {
    try {
      look_at_one(context, name, found);
    } catch (const Error& error) {
      found.push_back({"region", fmt::format("region '{}': {}", name, error.message()), error.next()});
    }
  }
  return found;
}

std::vector<Finding> look_at_slots(const Context& context) {
  std::vector<Finding> found;
  const std::string home = std::filesystem::weakly_canonical(context.home).string() + "/";
  for (const machine::SlotUse& use : machine::slots_in_use()) {
    const std::string remains = describe(machine::remains_of(use.owner, use.slot));
    if (use.left()) {
      found.push_back({"slot",
                       fmt::format("slot {} of this host belongs to {}, which is gone: {} of it left", use.slot,
                                   use.owner.empty() ? "nobody" : use.owner.string(), remains),
                       "kiln doctor --clean removes it"});
    } else if (!use.holder && !use.owner.string().starts_with(home)) {
      found.push_back({"slot",
                       fmt::format("slot {} of this host belongs to {}, whose process is dead: {}", use.slot,
                                   use.owner.string(), remains),
                       "kiln doctor with the KILN_HOME that it is below", false});
    }
  }
  return found;
}

}  // namespace kiln::cli
