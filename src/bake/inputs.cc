// Inputs: walking, checking and hashing what is copied.
#include "bake/inputs.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "bake/files.h"
#include "bake/ignore.h"
#include "bake/template.h"
#include "base/text.h"
#include "host/pieces.h"

namespace kiln::bake {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kEntriesMax = 200'000;
constexpr std::size_t kTemplateBytesMax = std::size_t{1} << 20;

bool below(const fs::path& path, const fs::path& folder) {
  const auto [end, ignored] = std::ranges::mismatch(folder, path);
  return end == folder.end();
}

class Walker {
 public:
  Walker(const spec::App& app, const spec::Step& step, const spec::CopyStep& copy, const fs::path& folder,
         const fs::path& root)
      : app_(app), step_(step), folder_(folder), root_(root) {
    if (fs::exists(folder / kIgnoreFile)) of_app_.add_lines(host::read_file(folder / kIgnoreFile));
    for (const std::string& line : copy.ignore) of_step_.add(line);
  }

  void add(const fs::path& path, const std::string& name) {
    if (entries_.size() >= kEntriesMax) refuse(fmt::format("more than {} files", kEntriesMax));
    InputEntry entry;
    entry.name = name;
    entry.source = path;
    const fs::file_status status = fs::symlink_status(path);
    switch (status.type()) {
      case fs::file_type::directory:
        entry.kind = InputEntry::Kind::folder;
        break;
      case fs::file_type::regular:
        entry.executable = (status.permissions() & fs::perms::owner_exec) != fs::perms::none;
        entry.content = host::digest_of_file(path, host::Links::refuse);
        break;
      case fs::file_type::symlink:
        entry.kind = InputEntry::Kind::link;
        entry.target = fs::read_symlink(path).string();
        check_link(path, entry.target);
        break;
      default:
        refuse(fmt::format("'{}' is neither file nor folder nor link", path.string()));
    }
    const bool folder = entry.kind == InputEntry::Kind::folder;
    entries_.push_back(std::move(entry));
    if (!folder) return;
    for (const std::string& child : host::list_folder(path)) {
      const std::string child_name = name.empty() ? child : name + "/" + child;
      if (!ignored(path / child, child_name)) add(path / child, child_name);
    }
  }

  std::vector<InputEntry> take() { return std::move(entries_); }

 private:
  bool ignored(const fs::path& path, const std::string& name) const {
    if (of_app_.empty() && of_step_.empty()) return false;
    const bool folder = fs::symlink_status(path).type() == fs::file_type::directory;
    return of_app_.ignores(path.lexically_relative(folder_).string(), folder) || of_step_.ignores(name, folder);
  }

  void check_link(const fs::path& path, const std::string& target) const {
    const fs::path meant = (path.parent_path() / target).lexically_normal();
    if (fs::path(target).is_absolute() || !below(meant, root_)) {
      refuse(fmt::format("the link '{}' points to '{}', which is outside of what is copied", path.string(), target));
    }
  }

  [[noreturn]] void refuse(const std::string& why) const { throw app_.source.error(step_.where, why); }

  const spec::App& app_;
  const spec::Step& step_;
  fs::path folder_;
  fs::path root_;
  Ignore of_app_;
  Ignore of_step_;
  std::vector<InputEntry> entries_;
};

void render(const spec::App& app, const spec::Step& step, const spec::CopyStep& copy, std::vector<InputEntry>& inputs) {
  InputEntry& entry = inputs.front();
  if (entry.kind != InputEntry::Kind::file)
    throw app.source.error(step.where, fmt::format("the template '{}' is not a file", copy.from));
  if (fs::file_size(entry.source) > kTemplateBytesMax)
    throw app.source.error(step.where, fmt::format("the template '{}' is larger than 1 MiB", copy.from), "use 'copy'");
  entry.text = render_template({.file_name = copy.from, .text = host::read_file(entry.source)}, *copy.variables);
  entry.content = sha256(*entry.text);
}

}  // namespace

std::vector<InputEntry> read_inputs(const spec::App& app, const spec::Step& step, const spec::CopyStep& copy,
                                    const host::Path& app_folder) {
  const fs::path folder = fs::canonical(app_folder);
  std::error_code error;
  const fs::path from = fs::canonical(folder / copy.from, error);
  if (error) {
    const std::string message = error == std::errc::no_such_file_or_directory
                                    ? fmt::format("'{}' does not exist in {}", copy.from, folder.string())
                                    : fmt::format("'{}': {}", copy.from, error.message());
    throw app.source.error(step.where, message, "'from' is relative to the folder of kiln.yaml");
  }
  if (!below(from, folder)) {
    throw app.source.error(step.where,
                           fmt::format("'{}' is {}, outside of {}", copy.from, from.string(), folder.string()),
                           "copy it into the app's folder");
  }
  if (copy.from.ends_with('/') && !fs::is_directory(from))
    throw app.source.error(step.where, fmt::format("'{}' is not a folder", copy.from));
  Walker walker(app, step, copy, folder, from);
  walker.add(from, "");
  std::vector<InputEntry> inputs = walker.take();
  if (copy.variables) render(app, step, copy, inputs);
  return inputs;
}

std::string target_of(const spec::CopyStep& copy, const std::vector<InputEntry>& inputs, const InputEntry& entry) {
  fs::path target = copy.to;
  const bool contents_only = inputs.front().kind == InputEntry::Kind::folder && copy.from.ends_with('/');
  if (copy.to.ends_with('/') && !contents_only) target /= fs::path(copy.from).filename();
  if (!entry.name.empty()) target /= entry.name;
  std::string path = target.lexically_normal().string();
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path;
}

}  // namespace kiln::bake
