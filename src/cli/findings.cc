// Findings: of the files of a home. Those of the regions are in region_findings.cc.
#include "cli/findings.h"

#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "builder/builder.h"
#include "catalog/catalog.h"
#include "cli/image_trial.h"
#include "cli/instance_bake.h"
#include "deploy/history.h"
#include "fleet/names.h"
#include "host/lock.h"
#include "store/flaws.h"
#include "trial/trial.h"

namespace kiln::cli {
namespace {

constexpr std::size_t kBlobsShown = 10;

// What a look could not read is its finding.
template <typename Look>
std::vector<Finding> looking(const std::string& about, Look&& look) {
  std::vector<Finding> found;
  try {
    look(found);
  } catch (const Error& error) {
    found.push_back({about, error.message(), error.next()});
  } catch (const nlohmann::json::exception& error) {
    found.push_back({about, error.what(), "Run `kiln ledger verify`."});
  }
  return found;
}

std::string holder_words(const host::LockHolder& holder) {
  return fmt::format("'{}' (process {}) since {}", holder.what, holder.pid, format_iso8601(holder.since));
}

void look_at_chain(const ledger::Ledger& ledger, const Context& context, std::vector<Finding>& found) {
  const ledger::Verification result = ledger.verify();
  const std::string next = fmt::format(
      "See all of it: kiln ledger verify. Keep {} as it is for whoever looks into it, and put back a copy that holds "
      "(kiln ledger verify --file checks an export).",
      context.ledger_folder().string());
  if (!result.ok()) {
    const ledger::Problem& first = result.problems.front();
    found.push_back({"ledger",
                     fmt::format("the ledger does not hold, {} findings; entry {} ({}) {}: {}", result.problems.size(),
                                 first.sequence, first.entry_kind.empty() ? "?" : first.entry_kind,
                                 ledger::to_string(first.kind), first.what),
                     next});
  } else if (result.behind > 0) {
    found.push_back({"ledger",
                     fmt::format("head.json does not know the newest {} of the ledger's {} entries: a process ended "
                                 "right after it had appended",
                                 result.behind, result.entries),
                     "Nothing: the next entry mends it.", false});
  }
}

void look_at_deployments(ledger::Ledger& ledger, const Context& context, std::vector<Finding>& found) {
  const deploy::History history(ledger);
  for (const deploy::Deployment& one : history.all_unfinished()) {
    const std::string group = fleet::names_of(one.app, one.environment).group;
    if (const auto holder = host::FileLock::holder(context.locks_folder() / (group + ".lock"))) {
      found.push_back({"deployment",
                       fmt::format("{}; {} goes on with it", unfinished_words(one), holder_words(*holder)),
                       "kiln status --watch shows it", false});
      continue;
    }
    const ledger::Entry last = history.entries(one.id).back();
    found.push_back({"deployment",
                     fmt::format("{}; nobody goes on with it, its last entry is {} ({}) of {}", unfinished_words(one),
                                 last.sequence, last.kind, format_iso8601(last.time)),
                     unfinished_next(one)});
  }
}

void look_at_builders(const ledger::Ledger& ledger, const Context& context, std::vector<Finding>& found) {
  for (const builder::OpenRun& run : builder::open_runs(ledger)) {
    if (!run.kept.empty()) {
      found.push_back(
          {"left",
           fmt::format("{}, an instance of {} that a test kept, in {} {}", run.kept, run.what, run.account, run.region),
           fmt::format("kiln test --end {}, in the folder of {}", run.kept, run.app), false});
    } else if (!host::FileLock::holder(builder_lock(context, run.app, run.environment))) {
      found.push_back(
          {"left",
           fmt::format("builder run {} of {}, begun {} in {} {}: what has the tag kiln:builder={}", run.run, run.app,
                       format_iso8601(run.started), run.account, run.region, run.run),
           fmt::format("kiln doctor --clean in the folder of {}, or its next bake in an instance", run.app)});
    }
  }
}

// "web@1.4.2", or the digest of what the catalog does not know.
std::map<Digest, std::string> image_names(const Context& context) {
  std::map<Digest, std::string> names;
  try {
    ledger::Ledger ledger(context.ledger_folder(), context.clock, context.actor());
    for (const catalog::Image& image : catalog::Catalog(ledger).view().images)
      names.emplace(image.digest, image.name());
  } catch (const Error&) {
    // The ledger's own finding says so.
  }
  return names;
}

// Many images share a blob: the catalog's names of those that lost it, or one digest when it knows none.
Finding of_blob(const host::Path& blob, const std::vector<const store::Flaw*>& flaws,
                const std::map<Digest, std::string>& names) {
  std::vector<std::string> known;
  for (const store::Flaw* flaw : flaws) {
    const auto name = names.find(flaw->manifest);
    if (name != names.end()) known.push_back(name->second);
  }
  if (known.empty()) known.push_back(flaws.front()->manifest.str());
  const std::size_t others = flaws.size() - known.size();
  const bool there = std::filesystem::exists(blob);
  return {
      "store",
      fmt::format("{}{}: {}: {}", join(known, ", "), others == 0 ? "" : fmt::format(" and {} others", others),
                  flaws.front()->what, blob.string()),
      fmt::format("{}Have it again by kiln bake{} or kiln pull; kiln verify {} then reads every byte.",
                  there ? fmt::format("Remove {}. ", blob.string()) : "", there ? " --no-cache" : "", known.front())};
}

}  // namespace

std::vector<Finding> look_at_ledger(const Context& context) {
  return looking("ledger", [&](std::vector<Finding>& found) {
    if (!std::filesystem::exists(context.ledger_folder() / "ledger.db")) return;
    ledger::Ledger ledger(context.ledger_folder(), context.clock, context.actor());
    look_at_chain(ledger, context, found);
    look_at_deployments(ledger, context, found);
    look_at_builders(ledger, context, found);
  });
}

std::vector<Finding> look_at_store(const Context& context) {
  return looking("store", [&](std::vector<Finding>& found) {
    const std::vector<store::Flaw> flaws = store::find_flaws(context.store_folder());
    if (flaws.empty()) return;
    const std::map<Digest, std::string> names = image_names(context);
    std::vector<host::Path> blobs;  // in the order of the flaws
    std::map<host::Path, std::vector<const store::Flaw*>> by_blob;
    for (const store::Flaw& flaw : flaws) {
      if (by_blob[flaw.blob].empty()) blobs.push_back(flaw.blob);
      by_blob[flaw.blob].push_back(&flaw);
    }
    for (const host::Path& blob : blobs) {
      if (found.size() == kBlobsShown) {
        found.push_back({"store", fmt::format("{} more blobs like these", blobs.size() - kBlobsShown), ""});
        break;
      }
      found.push_back(of_blob(blob, by_blob[blob], names));
    }
  });
}

std::vector<Finding> look_at_locks(const Context& context) {
  return looking("lock", [&](std::vector<Finding>& found) {
    auto held = host::held_locks(context.locks_folder());
    for (const host::Path& path : {context.store_folder() / "lock", context.ledger_folder() / "append.lock"}) {
      if (auto holder = host::FileLock::holder(path)) held.emplace_back(path, std::move(*holder));
    }
    for (const auto& [path, holder] : held) {
      found.push_back({"lock", fmt::format("{} is held by {}", path.string(), holder_words(holder)),
                       fmt::format("Wait for it; a lock goes with its process: kill {} ends it.", holder.pid), false});
    }
  });
}

std::vector<Finding> look_at_tests(const Context& context) {
  return looking("left", [&](std::vector<Finding>& found) {
    for (const host::Path& folder : trial::dead(trials_folder(context))) {
      found.push_back({"left", fmt::format("a test of an image that was killed: {}", folder.string()),
                       "kiln doctor --clean, or the next bake or test"});
    }
  });
}

std::vector<Finding> look_at_all(Context& context) {
  std::vector<Finding> all = look_at_regions(context);
  for (const auto& look : {look_at_slots, look_at_ledger, look_at_store, look_at_locks, look_at_tests}) {
    for (Finding& finding : look(context)) all.push_back(std::move(finding));
  }
  return all;
}

}  // namespace kiln::cli
