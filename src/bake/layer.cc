// LayerMaker: base, packages, copy, run, enable.
#include "bake/layer.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <regex>

#include "bake/copy.h"
#include "bake/files.h"
#include "bake/normalise.h"
#include "base/text.h"

namespace kiln::bake {
namespace {

constexpr std::size_t kQuotedLines = 20;
// apt waits for ever when the disk fills while it writes its lists, so there must be room before it starts: for the
// lists, the packages and what they unpack to.
constexpr std::uint64_t kBaseRoom = 512U << 20;
constexpr std::uint64_t kPackagesRoom = 192U << 20;
constexpr const char* kKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg";

// Statuses of the scripts below, to tell apart what failed.
constexpr int kNoMirror = 71;
constexpr int kRefused = 72;

// Stops at the first package list that cannot be had: apt by itself goes on with old ones. Keep-files, because another
// bake can use them.
constexpr const char* kInstallScript = R"(
apt-get -q -o APT::Update::Error-Mode=any update || exit 71
apt-get -q -y --no-install-recommends -o Dpkg::Options::=--force-unsafe-io -o Dpkg::Options::=--force-confold \
  -o Dpkg::Use-Pty=0 -o APT::Keep-Downloaded-Packages=true install -- "$@" &&
    { apt-get -q autoclean >/dev/null; exit 0; }
apt-cache pkgnames > /run/kiln/names
exit 72
)";

constexpr const char* kRunScript = R"(
for command; do
  printf '+ %s\n' "$command"
  /bin/sh -ec "$command" || exit
done
)";

constexpr const char* kEnableScript = R"(
systemctl enable -- "$@" && exit 0
ls /etc/systemd/system /usr/lib/systemd/system /etc/init.d > /run/kiln/names 2>/dev/null
exit 72
)";

std::vector<std::string> script(const char* text, const std::vector<std::string>& arguments) {
  std::vector<std::string> argv = {"/bin/sh", "-c", text, "kiln"};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return argv;
}

// What the file system says that it is now: the step's files are compared with it, not with a clock of ours.
Time file_time_now(const host::Path& folder) {
  const host::Path marker = folder / "started";
  host::write_file(marker, "");
  const auto time = std::chrono::file_clock::to_sys(std::filesystem::last_write_time(marker));
  return std::chrono::time_point_cast<Duration>(time);
}

std::vector<std::string> names_found(const MergedRoot& root) {
  const host::Path file = root.exchange() / "names";
  return std::filesystem::exists(file) ? split(host::read_file(file), '\n') : std::vector<std::string>{};
}

// What mmdebstrap leaves to whoever uses its root.
void complete_base(const host::Path& tree) {
  std::filesystem::permissions(tree, std::filesystem::perms(0755));
  // Empty, so that each machine gets its own at boot.
  host::write_file(tree / "etc/machine-id", "");
  host::write_file(tree / "etc/hosts", "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n");
  for (const char* name : {"etc/machine-id", "etc/hosts"}) set_owner_and_mode(tree / name, 0, 0, 0644);
  // A machine of Kiln's is replaced, never updated: nothing in it looks for updates.
  for (const char* timer : {"apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer"}) {
    std::filesystem::remove(tree / "etc/systemd/system/timers.target.wants" / timer);
  }
}

void check_room(const host::Path& folder, std::uint64_t needed, std::string_view what) {
  const std::uint64_t free = host::free_bytes(folder);
  if (free >= needed) return;
  throw Error(ErrorCode::disk_full,
              fmt::format("no space left for {}: {} MiB are free at {}, and it needs about {} MiB", what, free >> 20,
                          folder.string(), needed >> 20),
              "free some space, or move KILN_HOME");
}

bool says(const std::string& output, std::initializer_list<const char*> any) {
  return std::ranges::any_of(any, [&](const char* text) { return output.find(text) != std::string::npos; });
}

}  // namespace

LayerMaker::LayerMaker(const spec::App& app, const store::Store& store, const Cache& cache, host::Clock& clock,
                       const Options& options, BakeLog& log)
    : app_(app), store_(store), cache_(cache), clock_(clock), options_(options), log_(log) {}

host::Path LayerMaker::make(const PlannedLayer& layer, const std::vector<Digest>& below, const host::Path& work,
                            const std::function<void(std::string_view)>& on_output) const {
  if (layer.step != nullptr && std::holds_alternative<spec::HostStep>(layer.step->action))
    throw Error(ErrorCode::unsupported, "steps on this machine are not run");
  check_can_mount();
  log_.begin_step(layer.text);
  const Output output = [&](std::string_view bytes) {
    log_.write(bytes);
    if (on_output) on_output(bytes);
  };
  const host::Path tree = work / "upper";
  const Time started = file_time_now(work);
  with_private_mounts([&] {
    if (layer.step == nullptr) return make_base(tree, output);
    if (const auto* copy = std::get_if<spec::CopyStep>(&layer.step->action)) return run_copy(layer, *copy, below, work);
    for (const Digest& digest : below) store_.verify(digest);
    const MergedRoot root(work, paths_of(below), true);
    if (const auto* step = std::get_if<spec::PackagesStep>(&layer.step->action))
      run_packages(layer, *step, root, output);
    if (const auto* step = std::get_if<spec::RunStep>(&layer.step->action)) run_commands(layer, *step, root, output);
    if (const auto* step = std::get_if<spec::EnableStep>(&layer.step->action)) enable_units(layer, *step, root, output);
  });
  // A copy is exact already, and may put what a step would only leave behind, such as ssh host keys of a test machine.
  if (layer.step == nullptr || !std::holds_alternative<spec::CopyStep>(layer.step->action)) normalise(tree, started);
  store::make_erofs(tree, work / "layer.erofs");
  return work / "layer.erofs";
}

void LayerMaker::make_base(const host::Path& tree, const Output& output) const {
  const std::string& release = debian_release(app_);
  host::make_folders(tree);
  check_room(tree, kBaseRoom, "a base");
  host::Command command;
  command.argv = bound_to_us("mmdebstrap");
  // Folders of the root get our umask unless it is set.
  for (const std::string& word :
       {std::string("/bin/sh"), std::string("-c"), std::string("umask 022 && exec \"$@\""), std::string("sh"),
        std::string("mmdebstrap"), std::string("--mode=root"), std::string("--variant=apt"),
        std::string("--format=directory"), std::string("--architectures=amd64"),
        "--include=" + join(base_packages(), ","), std::string("--dpkgopt=force-unsafe-io")}) {
    command.argv.push_back(word);
  }
  if (std::filesystem::exists(kKeyring)) command.argv.push_back(fmt::format("--keyring={}", kKeyring));
  command.argv.insert(command.argv.end(),
                      {release, tree.string(), fmt::format("deb {} {} main", options_.mirror, release),
                       fmt::format("deb {} {}-updates main", options_.mirror, release),
                       fmt::format("deb {} {}-security main", options_.security_mirror, release)});
  command.env = bake_environment();
  command.on_output = output;
  const host::CommandResult result = host::run(command);
  if (!result.ok()) {
    const std::string said = last_lines(log_.tail(), kQuotedLines);
    if (says(said, {"No space left"}))
      throw Error(ErrorCode::disk_full, "no space left to make the base\n" + said,
                  "free some space, or move KILN_HOME");
    const bool mirror =
        says(log_.tail(), {"Failed to fetch", "Could not resolve", "Could not connect", "Temporary failure"});
    throw Error(mirror ? ErrorCode::unavailable : ErrorCode::io,
                fmt::format("mmdebstrap ended with status {} for debian:{} from {}\n{}", result.status, release,
                            options_.mirror, said),
                fmt::format("the whole output is in {}", log_.path().string()));
  }
  complete_base(tree);
}

void LayerMaker::run_copy(const PlannedLayer& layer, const spec::CopyStep& step, const std::vector<Digest>& below,
                          const host::Path& work) const {
  const MergedRoot root(work, paths_of(below), false);
  stage_copy(app_, *layer.step, step, layer.inputs, look_into(root.root()), root.upper());
}

void LayerMaker::run_packages(const PlannedLayer& layer, const spec::PackagesStep& step, const MergedRoot& root,
                              const Output& output) const {
  check_room(root.upper(), kPackagesRoom, "installing packages");
  const auto lock = cache_.lock_apt(debian_release(app_), clock_.now());
  const host::Path apt = cache_.apt_folder(debian_release(app_));
  const host::CommandResult result =
      root.run({.argv = script(kInstallScript, step.packages),
                .binds = {{apt / "lists", "/var/lib/apt/lists"}, {apt / "archives", "/var/cache/apt/archives"}},
                .on_output = output});
  if (result.ok()) return;
  if (result.status == kNoMirror) {
    Error error = failed(layer, result.status);
    throw Error(ErrorCode::unavailable, "the package mirror does not answer\n" + error.message(), error.next());
  }
  static const std::regex kUnknown("Unable to locate package (\\S+)");
  std::smatch match;
  if (result.status == kRefused && std::regex_search(log_.tail(), match, kUnknown)) {
    const auto near = nearest(match[1].str(), names_found(root));
    throw app_.source.error(layer.step->where,
                            fmt::format("debian:{} has no package '{}'{}", debian_release(app_), match[1].str(),
                                        near ? fmt::format("; did you mean '{}'?", *near) : ""));
  }
  throw failed(layer, result.status);
}

void LayerMaker::run_commands(const PlannedLayer& layer, const spec::RunStep& step, const MergedRoot& root,
                              const Output& output) const {
  const host::CommandResult result =
      root.run({.argv = script(kRunScript, step.commands), .binds = {}, .on_output = output});
  if (!result.ok()) throw failed(layer, result.status);
}

void LayerMaker::enable_units(const PlannedLayer& layer, const spec::EnableStep& step, const MergedRoot& root,
                              const Output& output) const {
  const host::CommandResult result =
      root.run({.argv = script(kEnableScript, step.units), .binds = {}, .on_output = output});
  if (result.ok()) return;
  const auto names = names_found(root);
  for (const std::string& unit : step.units) {
    const std::string init_script = unit.substr(0, unit.rfind('.'));
    const bool is_template = unit.find('@') != std::string::npos;
    if (names.empty() || is_template || std::ranges::find(names, unit) != names.end() ||
        std::ranges::find(names, init_script) != names.end())
      continue;
    const auto near = nearest(unit, names);
    throw app_.source.error(
        layer.step->where,
        fmt::format("the image has no unit '{}'{}", unit, near ? fmt::format("; did you mean '{}'?", *near) : ""),
        "the step that brings it must be above this one");
  }
  throw failed(layer, result.status);
}

std::vector<host::Path> LayerMaker::paths_of(const std::vector<Digest>& layers) const {
  std::vector<host::Path> paths;
  for (const Digest& digest : layers) paths.push_back(store_.path_of(digest));
  return paths;
}

Error LayerMaker::failed(const PlannedLayer& layer, int status) const {
  const spec::Location where = layer.step->where;
  const bool full = says(log_.tail(), {"No space left on device"});
  return {full ? ErrorCode::disk_full : ErrorCode::io,
          fmt::format("{}: the step '{}' failed with status {}\n{}\nIts last lines:\n{}", app_.source.at(where),
                      layer.text, status, app_.source.quote(where), last_lines(log_.tail(), kQuotedLines)),
          fmt::format(
              "the whole output is in {}; 'kiln bake --shell' opens a shell in the image as it was before this step",
              log_.path().string())};
}

}  // namespace kiln::bake
