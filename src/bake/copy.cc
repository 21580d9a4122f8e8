// Copy: every entry to its place, with folders as the image has them.
#include "bake/copy.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "bake/files.h"
#include "base/text.h"
#include "host/os_error.h"

namespace kiln::bake {
namespace {

namespace fs = std::filesystem;

class Stager {
 public:
  Stager(const spec::App& app, const spec::Step& step, const spec::CopyStep& copy, const Look& look,
         const fs::path& tree)
      : app_(app), step_(step), copy_(copy), look_(look), tree_(tree) {}

  void add(const InputEntry& entry, const std::string& target) {
    if (entry.kind == InputEntry::Kind::folder) {
      folder(target, true);
      return;
    }
    if (target == "/") refuse(fmt::format("'{}' is not a folder and cannot become the root", copy_.from));
    const fs::path parent = folder(fs::path(target).parent_path().string(), false);
    if (const auto there = look_(target); there && there->kind == Existing::Kind::folder) {
      refuse(fmt::format("'{}' is a folder in the image", target),
             fmt::format("to copy into it write 'to: {}/'", target));
    }
    const fs::path path = parent / fs::path(target).filename();
    if (entry.kind == InputEntry::Kind::link) {
      fs::create_symlink(entry.target, path);
      set_owner_and_mode(path, copy_.uid, copy_.gid, 0777);
      set_time(path, kLayerEpochSeconds);
      return;
    }
    if (entry.text) {
      host::write_file(path, *entry.text);
    } else if (copy_content(entry.source, path) != entry.content) {
      throw Error(ErrorCode::conflict, fmt::format("'{}' changed while it was baked", entry.source.string()),
                  "run kiln bake again");
    }
    set_owner_and_mode(path, copy_.uid, copy_.gid, copy_.mode.value_or(entry.executable ? 0755 : 0644));
    set_time(path, time_of(entry.content));
  }

  // After the last entry: what is put into a folder changes its time.
  void finish() const {
    for (const auto& [path, meta] : made_) set_time(path, meta.seconds, meta.nanoseconds);
  }

 private:
  // A year's worth of times after the epoch, by content: two versions of a page never share an ETag ("time-size"), and
  // the same page has the same one in every bake.
  static std::int64_t time_of(const Digest& content) {
    std::int64_t number = 0;
    for (std::size_t i = 0; i < 4; ++i) number = number << 8 | content.bytes()[i];
    return kLayerEpochSeconds + number % (365 * 86'400);
  }

  // The folder's place in the tree, made together with its parents when it is not there yet.
  fs::path folder(const std::string& path, bool own) {
    if (const auto known = folders_.find(path); known != folders_.end()) return known->second;
    const auto there = look_(path);
    if (there && there->kind != Existing::Kind::folder) refuse(fmt::format("'{}' is not a folder in the image", path));
    Existing meta;
    if (there) {
      meta = *there;
    } else {
      meta.seconds = kLayerEpochSeconds;
      if (own) {
        meta.uid = copy_.uid;
        meta.gid = copy_.gid;
        if (copy_.mode) meta.mode = *copy_.mode | (*copy_.mode & 0444U) >> 2;
      }
    }
    fs::path place = tree_;
    const std::string real = there ? there->real_path : path;
    if (real != "/") {
      const fs::path parent = folder(fs::path(real).parent_path().string(), false);
      place = parent / fs::path(real).filename();
    }
    fs::create_directory(place);
    set_owner_and_mode(place, meta.uid, meta.gid, meta.mode);
    made_[place] = meta;
    folders_[path] = place;
    return place;
  }

  [[noreturn]] void refuse(const std::string& why, std::string next = {}) const {
    throw app_.source.error(step_.where, why, std::move(next));
  }

  const spec::App& app_;
  const spec::Step& step_;
  const spec::CopyStep& copy_;
  const Look& look_;
  fs::path tree_;
  std::map<std::string, fs::path> folders_;
  std::map<fs::path, Existing> made_;
};

}  // namespace

namespace {

// openat2(2): with ".." in a path or link the kernel answers EAGAIN when anything on the machine was renamed or mounted
// meanwhile, and asks to be called again. Each try takes microseconds.
constexpr int kTriesMax = 1000;

long open_in_root(int top, const std::string& path) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  long number = -1;
  for (int tries = 0; tries < kTriesMax; ++tries) {
    number = ::syscall(SYS_openat2, top, path.c_str(), &how, sizeof how);
    if (number >= 0 || errno != EAGAIN) break;
  }
  return number;
}

}  // namespace

Look look_into(const host::Path& root) {
  return [root](const std::string& path) -> std::optional<Existing> {
    const host::FileDescriptor top(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    const auto number = open_in_root(top.get(), path);
    if (number < 0 && (errno == ENOENT || errno == ENOTDIR)) return std::nullopt;
    if (number < 0) throw host::os_error(fmt::format("looking at {} in the image", path), errno);
    const host::FileDescriptor fd(static_cast<int>(number));
    struct stat info {};
    if (::fstat(fd.get(), &info) != 0) throw host::os_error(fmt::format("looking at {} in the image", path), errno);
    const std::string absolute = fs::read_symlink(fmt::format("/proc/self/fd/{}", fd.get())).string();
    std::string real = absolute.substr(fs::canonical(root).string().size());
    return Existing{S_ISDIR(info.st_mode) ? Existing::Kind::folder : Existing::Kind::other,
                    real.empty() ? "/" : real,
                    info.st_mode & 07777U,
                    info.st_uid,
                    info.st_gid,
                    info.st_mtim.tv_sec,
                    info.st_mtim.tv_nsec};
  };
}

std::string read_inside(const host::Path& root, const std::string& path) {
  const auto there = look_into(root)(path);
  if (!there || there->kind == Existing::Kind::folder) return {};
  return host::read_file(root / there->real_path.substr(1));
}

void resolve_owner(const spec::App& app, const spec::Step& step, const std::string& passwd, const std::string& group,
                   spec::CopyStep& copy) {
  if (copy.user.empty()) return;
  // The fields of the line that begins with `name`: name:password:number:...
  const auto find = [&](const std::string& text, const std::string& name, const char* what) {
    std::vector<std::string> names;
    for (const std::string& line : split(text, '\n')) {
      const auto fields = split(line, ':');
      if (fields.size() > 3 && fields[0] == name && parse_int(fields[2])) return fields;
      names.push_back(fields[0]);
    }
    const auto near = nearest(name, names);
    throw app.source.error(
        step.where,
        fmt::format("the image has no {} '{}'{}", what, name, near ? fmt::format("; did you mean '{}'?", *near) : ""),
        "the step that brings it must be above this one");
  };
  const auto number = [](const std::string& field) { return static_cast<std::uint32_t>(parse_int(field).value_or(0)); };
  const auto user = find(passwd, copy.user, "user");
  copy.uid = number(user[2]);
  copy.gid = copy.group.empty() ? number(user[3]) : number(find(group, copy.group, "group")[2]);
}

void stage_copy(const spec::App& app, const spec::Step& step, const spec::CopyStep& copy,
                const std::vector<InputEntry>& inputs, const Look& look, const host::Path& tree) {
  Stager stager(app, step, copy, look, tree);
  for (const InputEntry& entry : inputs) stager.add(entry, target_of(copy, inputs, entry));
  stager.finish();
}

}  // namespace kiln::bake
