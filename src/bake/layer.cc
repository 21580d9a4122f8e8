// LayerMaker: base, packages, copy, run, enable.
#include "bake/layer.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <regex>

#include "bake/copy.h"
#include "bake/files.h"
#include "bake/normalise.h"
#include "bake/secrets.h"
#include "base/mask.h"
#include "base/text.h"

namespace kiln::bake {
namespace {

constexpr std::size_t kQuotedLines = 20;
// apt waits for ever when the disk fills while it writes its lists, so there must be room before it starts: for the
// lists, the packages and what they unpack to.
constexpr std::uint64_t kBaseRoom = 512U << 20;
constexpr std::uint64_t kPackagesRoom = 192U << 20;
constexpr const char* kKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg";

constexpr const char* kBasePins = "/etc/apt/preferences.d/kiln";  // in the base while it is made

// Statuses of the scripts below, to tell apart what failed.
constexpr int kNoMirror = 71;
constexpr int kRefused = 72;

// Stops at the first package list that cannot be had: apt by itself goes on with old ones. Keep-files, because another
// bake can use them.
constexpr const char* kInstallScript = R"(
for file in /etc/apt/sources.list.d/*; do [ ! -e "$file" ] || cp "$file" /run/kiln/apt/sources/; done
export APT_CONFIG=/run/kiln/apt/apt.conf
apt-get -q -o APT::Update::Error-Mode=any update || exit 71
apt-get -q -y --no-install-recommends --allow-downgrades -o Dpkg::Options::=--force-unsafe-io \
  -o Dpkg::Options::=--force-confold -o Dpkg::Use-Pty=0 -o APT::Keep-Downloaded-Packages=true install -- "$@" &&
    { apt-get -q autoclean >/dev/null; exit 0; }
apt-cache pkgnames > /run/kiln/names
for package; do [ "${package%=*}" = "$package" ] || apt-cache madison "${package%=*}"; done > /run/kiln/versions
exit 72
)";

constexpr const char* kAptConf = R"(
Dir::Etc::SourceParts "/run/kiln/apt/sources";
Dir::Etc::Preferences "/run/kiln/apt/preferences";
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

// The text as one word of a shell.
std::string quoted(const std::string& text) {
  std::string word = "'";
  for (const char c : text) word += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return word + "'";
}

// Each command in a shell of its own, shown as it is run; the first that fails ends the script with its status.
std::string run_script(const spec::RunStep& step) {
  std::string text;
  for (const std::string& command : step.commands) {
    text += "printf '+ %s\\n' " + quoted(command) + "\n";
    for (const std::string& word : step.shell) text += quoted(word) + " ";
    text += quoted(command) + " || exit\n";
  }
  return text;
}

// What the file system says that it is now: the step's files are compared with it, not with a clock of ours.
Time file_time_now(const host::Path& folder) {
  const host::Path marker = folder / "started";
  host::write_file(marker, "");
  const auto time = std::chrono::file_clock::to_sys(std::filesystem::last_write_time(marker));
  return std::chrono::time_point_cast<Duration>(time);
}

std::vector<std::string> lines_found(const MergedRoot& root, const char* name) {
  const host::Path file = root.exchange() / name;
  return std::filesystem::exists(file) ? split(host::read_file(file), '\n') : std::vector<std::string>{};
}

// For apt: these versions before all others.
std::string preferences(const Versions& pins) {
  std::string text;
  for (const auto& [package, version] : pins)
    text += fmt::format("Package: {}\nPin: version {}\nPin-Priority: 1001\n\n", package, version);
  return text;
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

LayerMaker::LayerMaker(const Workshop& shop, const PlannedLayer& layer, const std::vector<Digest>& below,
                       host::Path work, StepLog& log, std::function<void(std::string_view)> on_output)
    : shop_(shop), layer_(layer), below_(below), work_(std::move(work)), log_(log) {
  output_ = [this, on_output = std::move(on_output)](std::string_view bytes) {
    log_.write(bytes);
    if (on_output) on_output(bytes);
  };
}

MadeLayer LayerMaker::make() {
  check_can_mount();
  const host::Path tree = work_ / "upper";
  const Time started = file_time_now(work_);
  with_private_mounts([&] {
    if (layer_.step == nullptr) return make_base(tree);
    if (const auto* copy = std::get_if<spec::CopyStep>(&layer_.step->action)) return run_copy(*copy);
    for (const Digest& digest : below_) shop_.store.verify(digest);
    const MergedRoot root(work_, layers_below(), true);
    if (const auto* step = std::get_if<spec::PackagesStep>(&layer_.step->action)) run_packages(*step, root);
    if (const auto* step = std::get_if<spec::RunStep>(&layer_.step->action)) run_commands(*step, root);
    if (const auto* step = std::get_if<spec::EnableStep>(&layer_.step->action)) enable_units(*step, root);
  });
  // A copy is exact already, and may put what a step would only leave behind, such as ssh host keys of a test machine.
  if (layer_.step == nullptr || !std::holds_alternative<spec::CopyStep>(layer_.step->action)) normalise(tree, started);
  store::make_erofs(tree, work_ / "layer.erofs");
  return {.file = work_ / "layer.erofs", .brought = std::move(brought_)};
}

Error LayerMaker::base_failed(int status, const std::string& release, const std::string& mirror) const {
  const std::string said = last_lines(log_.tail(), kQuotedLines);
  if (says(said, {"No space left"}))
    return {ErrorCode::disk_full, "no space left to make the base\n" + said, "free some space, or move KILN_HOME"};
  const bool silent =
      says(log_.tail(), {"Failed to fetch", "Could not resolve", "Could not connect", "Temporary failure"});
  return {silent ? ErrorCode::unavailable : ErrorCode::io,
          fmt::format("mmdebstrap ended with status {} for debian:{} from {}\n{}", status, release, mirror, said),
          fmt::format("the whole output is in {}", log_.path().string())};
}

void LayerMaker::make_base(const host::Path& tree) {
  const std::string release = debian_release(shop_.app);
  const std::string& of_app = shop_.app.image.mirror;
  const std::string& mirror = of_app.empty() ? shop_.options.mirror : of_app;
  const std::string& security_of_app = shop_.app.image.security_mirror;
  const std::string& security = security_of_app.empty() ? shop_.options.security_mirror : security_of_app;
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
  if (layer_.locked) pin_base(command.argv);
  if (std::filesystem::exists(kKeyring)) command.argv.push_back(fmt::format("--keyring={}", kKeyring));
  // A snapshot of the past has been valid in its time.
  if (!of_app.empty()) command.argv.emplace_back("--aptopt=Acquire::Check-Valid-Until \"false\"");
  command.argv.insert(command.argv.end(), {release, tree.string(), fmt::format("deb {} {} main", mirror, release),
                                           fmt::format("deb {} {}-updates main", mirror, release),
                                           fmt::format("deb {} {}-security main", security, release)});
  command.env = bake_environment();
  command.on_output = output_;
  command.cancelled = shop_.options.cancelled;
  const host::CommandResult result = host::run(command);
  if (!result.ok()) throw base_failed(result.status, release, mirror);
  complete_base(tree);
  brought_ = installed_in(tree);
  check_locked(brought_);
}

// apt takes the locked versions where the mirror has them beside newer ones.
void LayerMaker::pin_base(std::vector<std::string>& argv) const {
  const host::Path file = work_ / "preferences";
  host::write_file(file, preferences(*layer_.locked));
  argv.push_back("--setup-hook=install -D -m 0644 " + quoted(file.string()) + " \"$1\"" + kBasePins);
  // The folder's time is that of the package which brought it, as without pins.
  argv.push_back(
      fmt::format("--customize-hook=was=$(stat -c %Y \"$1{0}\") && rm \"$1{1}\" && touch -d \"@$was\" \"$1{0}\"",
                  host::Path(kBasePins).parent_path().string(), kBasePins));
}

void LayerMaker::run_copy(const spec::CopyStep& step) const {
  const MergedRoot root(work_, layers_below(), false);
  spec::CopyStep copy = step;
  if (!copy.user.empty())
    resolve_owner(shop_.app, *layer_.step, read_inside(root.root(), "/etc/passwd"),
                  read_inside(root.root(), "/etc/group"), copy);
  stage_copy(shop_.app, *layer_.step, copy, layer_.inputs, look_into(root.root()), root.upper());
}

void LayerMaker::run_packages(const spec::PackagesStep& step, const MergedRoot& root) {
  require_program(root, "/bin/sh", "a shell");
  require_program(root, "/usr/bin/apt-get", "apt");
  check_room(root.upper(), kPackagesRoom, "installing packages");
  const Versions before = installed_in(root.root());
  write_sources(root);
  const host::CommandResult result = install(step, root);
  if (!result.ok()) explain_packages(root, result.status);
  const Versions after = installed_in(root.root());
  brought_ = brought(before, after);
  check_locked(after);
}

// Everything of apt's that this step has beside what the image itself has.
void LayerMaker::write_sources(const MergedRoot& root) const {
  const host::Path folder = root.exchange() / "apt";
  host::make_folders(folder / "sources");
  host::make_folders(folder / "keys");
  host::write_file(folder / "preferences", preferences(shop_.pins));
  for (const spec::Repository& repository : shop_.app.image.repositories) {
    const std::string key = host::read_file(shop_.app_folder / repository.key);
    const std::string name = repository.name + (key.starts_with("-----BEGIN") ? ".asc" : ".gpg");
    host::write_file(folder / "keys" / name, key);
    std::string source = fmt::format("Types: deb\nURIs: {}\nSuites: {}\nSigned-By: /run/kiln/apt/keys/{}\n",
                                     repository.url, repository.suite, name);
    if (!repository.components.empty()) source += "Components: " + join(repository.components, " ") + "\n";
    host::write_file(folder / "sources" / ("kiln-" + repository.name + ".sources"), source);
  }
  std::string conf = kAptConf;
  if (!shop_.app.image.mirror.empty()) conf += "Acquire::Check-Valid-Until \"false\";\n";
  host::write_file(folder / "apt.conf", conf);
  // apt fetches as a user of its own, who has to read them whatever our umask is.
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root.exchange()))
    set_owner_and_mode(entry.path(), 0, 0, entry.is_directory() ? 0755 : 0644);
  set_owner_and_mode(root.exchange(), 0, 0, 0755);
}

host::CommandResult LayerMaker::install(const spec::PackagesStep& step, const MergedRoot& root) const {
  std::string release = debian_release(shop_.app);
  if (release.empty()) {
    static const std::regex kCodename("VERSION_CODENAME=\"?([a-z]+)");
    std::smatch match;
    const std::string text = read_inside(root.root(), "/etc/os-release");
    release = std::regex_search(text, match, kCodename) ? match[1].str() : std::string("other");
  }
  const auto lock = shop_.cache.lock_apt(release, shop_.clock.now(), shop_.options.cancelled, output_);
  const host::Path apt = shop_.cache.apt_folder(release);
  return run(root, {.argv = script(kInstallScript, step.packages),
                    .binds = {{apt / "lists", "/var/lib/apt/lists"}, {apt / "archives", "/var/cache/apt/archives"}},
                    .on_output = output_});
}

// apt complains of each source by its address; those of the recipe are named by their names.
void LayerMaker::explain_mirrors(int status) const {
  const Error error = failed(status);
  std::string why = "a package mirror does not answer, or is not to be trusted";
  for (const spec::Repository& repository : shop_.app.image.repositories) {
    std::string of_it;
    for (const std::string& line : split(log_.tail(), '\n')) {
      const bool complains = line.starts_with("E:") || line.starts_with("W:") || line.starts_with("Err:");
      if (complains && line.find(repository.url) != std::string::npos) of_it += line + "\n";
    }
    if (of_it.empty()) continue;
    const std::string how = says(of_it, {"NO_PUBKEY", "BADSIG", "is not signed", "EXPKEYSIG", "REVKEYSIG"})
                                ? "is not signed by " + repository.key
                            : says(of_it, {"is expired"}) ? "has expired: its lists were valid until a day that is over"
                            : says(of_it, {"404", "does not have a Release file"})
                                ? fmt::format("has no suite '{}' at {}", repository.suite, repository.url)
                                : "does not answer";
    why = fmt::format("{}: the repository '{}' {}", shop_.app.source.at(repository.where), repository.name, how);
    break;
  }
  throw Error(ErrorCode::unavailable, why + "\n" + error.message(), error.next());
}

void LayerMaker::explain_packages(const MergedRoot& root, int status) const {
  if (status == kNoMirror) explain_mirrors(status);
  static const std::regex kUnknown("Unable to locate package (\\S+)");
  static const std::regex kNoVersion("Version '([^']+)' for '([^']+)' was not found");
  static const std::regex kUnmet("The following packages have unmet dependencies:\\n((?: .*\\n)+)");
  std::smatch match;
  const std::string& said = log_.tail();
  if (status == kRefused && std::regex_search(said, match, kUnknown)) {
    const auto near = nearest(match[1].str(), lines_found(root, "names"));
    throw refused(fmt::format("{} has no package '{}'{}", base_text(shop_.app), match[1].str(),
                              near ? fmt::format("; did you mean '{}'?", *near) : ""));
  }
  if (status == kRefused && std::regex_search(said, match, kNoVersion)) {
    std::vector<std::string> versions;
    for (const std::string& line : lines_found(root, "versions")) {
      const auto columns = split(line, '|');
      if (columns.size() > 1 && trim(columns[0]) == match[2].str()) versions.emplace_back(trim(columns[1]));
    }
    throw refused(fmt::format("version {} of '{}' is not to be had", match[1].str(), match[2].str()),
                  versions.empty() ? "" : "there is " + join(versions, ", "));
  }
  if (status == kRefused && std::regex_search(said, match, kUnmet))
    throw refused("these packages cannot be installed together:\n" + match[1].str(),
                  fmt::format("the whole output is in {}", log_.path().string()));
  throw failed(status);
}

void LayerMaker::check_locked(const Versions& installed) const {
  if (!layer_.locked) return;
  std::vector<std::string> gone;
  for (const auto& [package, version] : *layer_.locked) {
    const auto is = installed.find(package);
    if (is != installed.end() && is->second == version) continue;
    gone.push_back(fmt::format("  {} {}, there is {}", package, version, is == installed.end() ? "none" : is->second));
  }
  if (gone.empty()) return;
  throw Error(
      ErrorCode::unavailable,
      fmt::format("{} names versions that are no longer to be had ({}):\n{}", kLockFile, layer_.text, join(gone, "\n")),
      "take the new ones with 'kiln bake --update', or bake from a snapshot: under 'image', 'mirror: "
      "http://snapshot.debian.org/archive/debian/YYYYMMDDT000000Z'");
}

void LayerMaker::run_commands(const spec::RunStep& step, const MergedRoot& root) {
  require_program(root, "/bin/sh", "a shell");
  if (!step.shell.empty()) require_program(root, step.shell.front(), "that program");
  const auto secrets = read_secrets(shop_.app, shop_.app_folder, step.secrets);
  if (!secrets.empty()) root.give_secrets(secrets);
  for (const spec::StepFile& file : step.files) {
    const host::Path path = root.exchange() / "files" / file.name;
    host::make_folders(path.parent_path());
    host::write_file(path, file.content, file.mode);
    set_owner_and_mode(path, 0, 0, file.mode);
  }
  host::write_file(root.exchange() / "script", run_script(step));
  std::vector<std::string> hidden = shop_.app.image.hidden;
  for (const auto& [name, value] : secrets) hidden.push_back(value);
  Mask mask(hidden, output_);
  const host::CommandResult result = run(root, {.argv = {"/bin/sh", "/run/kiln/script"},
                                                .binds = {},
                                                .on_output = [&](std::string_view bytes) { mask.write(bytes); },
                                                .environment = step.environment});
  mask.finish();
  if (!result.ok()) throw failed(result.status);
  const std::string left = secrets.empty() ? std::string() : file_with_a_secret(root.upper(), secrets);
  if (!left.empty())
    throw refused(fmt::format("the step left a secret in /{}", left), "remove it in the same step, or do not write it");
}

void LayerMaker::enable_units(const spec::EnableStep& step, const MergedRoot& root) const {
  require_program(root, "/bin/sh", "a shell");
  require_program(root, "/usr/bin/systemctl", "systemd");
  const host::CommandResult result =
      run(root, {.argv = script(kEnableScript, step.units), .binds = {}, .on_output = output_});
  if (result.ok()) return;
  const auto names = lines_found(root, "names");
  for (const std::string& unit : step.units) {
    const std::string init_script = unit.substr(0, unit.rfind('.'));
    const bool is_template = unit.find('@') != std::string::npos;
    if (names.empty() || is_template || std::ranges::find(names, unit) != names.end() ||
        std::ranges::find(names, init_script) != names.end())
      continue;
    const auto near = nearest(unit, names);
    throw refused(
        fmt::format("the image has no unit '{}'{}", unit, near ? fmt::format("; did you mean '{}'?", *near) : ""),
        "the step that brings it must be above this one");
  }
  throw failed(result.status);
}

host::CommandResult LayerMaker::run(const MergedRoot& root, MergedRoot::Inside inside) const {
  inside.cancelled = shop_.options.cancelled;
  return root.run(inside);
}

std::vector<host::Path> LayerMaker::layers_below() const {
  std::vector<host::Path> paths;
  for (const Digest& digest : below_) paths.push_back(shop_.store.path_of(digest));
  return paths;
}

// Only for absolute paths: what PATH finds, the step itself finds out.
void LayerMaker::require_program(const MergedRoot& root, const std::string& path, const std::string& for_what) const {
  if (!path.starts_with('/') || look_into(root.root())(path)) return;
  throw refused(fmt::format("the image has no {} here: the step '{}' needs {}", path, layer_.text, for_what),
                "begin with an image that has it, or bring it by a step above; 'copy' and 'template' need no program");
}

Error LayerMaker::refused(const std::string& why, std::string next) const {
  return shop_.app.source.error(layer_.step->where, why, std::move(next));
}

Error LayerMaker::failed(int status) const {
  const spec::Location where = layer_.step->where;
  const spec::Source& source = shop_.app.source;
  const bool full = says(log_.tail(), {"No space left on device"});
  return {full ? ErrorCode::disk_full : ErrorCode::io,
          fmt::format("{}: the step '{}' failed with status {}\n{}\nIts last lines:\n{}", source.at(where), layer_.text,
                      status, source.quote(where), last_lines(log_.tail(), kQuotedLines)),
          fmt::format(
              "the whole output is in {}; 'kiln bake --shell' opens a shell in the image as it was before this step",
              log_.path().string())};
}

}  // namespace kiln::bake
