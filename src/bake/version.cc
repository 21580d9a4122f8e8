// Version: what this state of the app's folder is called.
#include <fmt/format.h>

#include "bake/bake.h"
#include "bake/git.h"
#include "base/text.h"
#include "host/process.h"

namespace kiln::bake {
namespace {

// git refuses a repository of another user ("dubious ownership"), which is the usual case under sudo; we only read.
host::CommandResult git(const host::Path& folder, std::vector<std::string> arguments) {
  host::Command command;
  command.argv = {"git", "-c", "safe.directory=*", "-C", folder.string()};
  command.argv.insert(command.argv.end(), arguments.begin(), arguments.end());
  return host::run(command);
}

std::string line_of(const host::CommandResult& result) { return std::string(trim(result.out)); }

// "v1.2.0-3-g1a2b3c" → "1.2.0-3-g1a2b3c"; at the tag itself "1.2.0".
std::string from_description(std::string description) {
  if (description.starts_with('v')) description.erase(0, 1);
  const std::size_t hash = description.rfind("-g");
  const std::size_t count =
      hash == std::string::npos || hash == 0 ? std::string::npos : description.rfind('-', hash - 1);
  if (count == std::string::npos) return description;
  return description.substr(count + 1, hash - count - 1) == "0" ? description.substr(0, count) : description;
}

std::string git_version(const spec::App& app, const host::Path& folder) {
  const std::string commit = git_commit(folder);
  if (commit.empty()) {
    throw app.source.error(
        app.image.where,
        fmt::format("'version: git' (which it is unless given), and {} is in no git repository with a commit",
                    folder.string()),
        "give a version under 'image': 'version: 1.0.0'");
  }
  const auto described = git(folder, {"describe", "--tags", "--long", "--abbrev=12", "--match", "v[0-9]*.[0-9]*.[0-9]*",
                                      "--match", "[0-9]*.[0-9]*.[0-9]*"});
  std::string version =
      described.ok()
          ? from_description(line_of(described))
          : fmt::format("0.0.0-{}-g{}", line_of(git(folder, {"rev-list", "--count", "HEAD"})), commit.substr(0, 12));
  if (!line_of(git(folder, {"status", "--porcelain", "--", "."})).empty()) version += "-dirty";
  return version;
}

}  // namespace

std::string git_commit(const host::Path& folder) {
  if (host::find_program("git").empty()) return {};
  const auto head = git(folder, {"rev-parse", "--verify", "--quiet", "HEAD"});
  return head.ok() ? line_of(head) : std::string();
}

std::string resolve_version(const spec::App& app, const host::Path& app_folder, Time now) {
  switch (app.image.version_kind) {
    case spec::VersionKind::literal:
      return app.image.version;
    case spec::VersionKind::git:
      return git_version(app, app_folder);
    case spec::VersionKind::timestamp: {
      const std::string text = format_basic_iso8601(now);  // 20261124T030156Z
      return text.substr(0, 8) + "." + text.substr(9, 6);
    }
  }
  return {};
}

}  // namespace kiln::bake
