// LockFile: JSON there and back, and what dpkg has installed.
#include "bake/lock_file.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "bake/files.h"
#include "base/error.h"
#include "proof/dpkg.h"

namespace kiln::bake {
namespace {
constexpr int kLockVersion = 1;
}

const LockFile::Step* LockFile::find(const std::vector<std::string>& packages) const {
  const auto found = std::ranges::find(steps, packages, &Step::packages);
  return found == steps.end() ? nullptr : &*found;
}

Versions LockFile::all() const {
  Versions versions = base_versions;
  for (const Step& step : steps) {
    for (const auto& [package, version] : step.versions) versions[package] = version;
  }
  return versions;
}

std::string LockFile::text() const {
  nlohmann::ordered_json json = {
      {"about", "Package versions of this app's image. 'kiln bake --update' renews it; keep it in version control."},
      {"lock", kLockVersion},
      {"base", {{"from", base}, {"versions", base_versions}}},
      {"steps", nlohmann::ordered_json::array()}};
  for (const Step& step : steps) json["steps"].push_back({{"packages", step.packages}, {"versions", step.versions}});
  return json.dump(2) + "\n";
}

LockFile LockFile::parse(std::string_view text, const std::string& file_name) {
  const auto refuse = [&](const std::string& why) {
    return Error(ErrorCode::usage, fmt::format("{}: {}", file_name, why), "make it anew: kiln bake --update");
  };
  try {
    const auto json = nlohmann::json::parse(text);
    if (json.at("lock").get<int>() != kLockVersion) throw refuse("it was written by another version of Kiln");
    LockFile lock;
    json.at("base").at("from").get_to(lock.base);
    json.at("base").at("versions").get_to(lock.base_versions);
    for (const auto& entry : json.at("steps"))
      lock.steps.push_back(
          {entry.at("packages").get<std::vector<std::string>>(), entry.at("versions").get<Versions>()});
    return lock;
  } catch (const nlohmann::json::parse_error& error) {
    // What a merge leaves, as a rule: the place says more than the parser's words.
    const std::string_view before = text.substr(0, std::min(error.byte > 0 ? error.byte - 1 : 0, text.size()));
    const auto line = std::ranges::count(before, '\n') + 1;
    const auto column = before.size() - (before.rfind('\n') + 1) + 1;
    throw Error(ErrorCode::usage, fmt::format("{}:{}:{}: this is not JSON", file_name, line, column),
                "take one side of a merge, or make it anew: kiln bake --update");
  } catch (const nlohmann::json::exception&) {
    throw refuse("this is no lock file: 'lock', 'base' (with 'from' and 'versions') and 'steps' are in one");
  }
}

std::optional<LockFile> read_lock_file(const host::Path& app_folder) {
  const host::Path path = app_folder / kLockFile;
  if (!std::filesystem::exists(path)) return std::nullopt;
  return LockFile::parse(host::read_file(path), kLockFile);
}

void write_lock_file(const host::Path& app_folder, const LockFile& lock) {
  const host::Path path = app_folder / kLockFile;
  const std::string text = lock.text();
  if (std::filesystem::exists(path) && host::read_file(path) == text) return;
  host::write_file(path, text);
  // A bake runs as root, in the folder of somebody who has to be able to edit what is in it.
  struct stat info {};
  if (::stat(app_folder.c_str(), &info) == 0) set_owner_and_mode(path, info.st_uid, info.st_gid, 0644);
}

Versions installed_in(const host::Path& root) {
  const host::Path file = root / host::Path(proof::kDpkgStatus).relative_path();
  Versions versions;
  if (!std::filesystem::exists(file)) return versions;
  for (proof::Package& package : proof::read_dpkg_status(host::read_file(file)))
    versions[package.name] = std::move(package.version);
  return versions;
}

Versions brought(const Versions& before, const Versions& after) {
  Versions versions;
  std::ranges::set_difference(after, before, std::inserter(versions, versions.end()));
  return versions;
}

}  // namespace kiln::bake
