// LockFile: kiln.lock beside kiln.yaml: which version of every package the base and each step brought.
//
// A bake with a lock file installs exactly what it names, or says what is no longer to be had. It is written by
// `kiln bake --update`, and added to when a step is new; entries are sorted, so that it reads well in a diff.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "host/file.h"
#include "spec/app.h"

namespace kiln::bake {

using Versions = std::map<std::string, std::string>;  // package → version

struct LockFile {
  struct Step {
    std::vector<std::string> packages;  // as kiln.yaml asks for them
    Versions versions;                  // of what the step installed or changed
    bool operator==(const Step&) const = default;
  };
  std::string base;  // "debian:bookworm"
  Versions base_versions;
  std::vector<Step> steps;

  const Step* find(const std::vector<std::string>& packages) const;
  // Of base and all steps; a later one counts.
  Versions all() const;
  std::string text() const;  // JSON, ends with a newline
  // Throws Error(usage) that names the file.
  static LockFile parse(std::string_view text, const std::string& file_name);
};

inline constexpr const char* kLockFile = "kiln.lock";

std::optional<LockFile> read_lock_file(const host::Path& app_folder);
// Writes it unless it says the same already; whose folder it is, theirs is the file.
void write_lock_file(const host::Path& app_folder, const LockFile& lock);

// What dpkg has installed in a root, by its status file; empty when it has none.
Versions installed_in(const host::Path& root);
// What `after` has that `before` has not, or in another version.
Versions brought(const Versions& before, const Versions& after);

}  // namespace kiln::bake
