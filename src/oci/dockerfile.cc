// Dockerfile: buildah's command line, and its errors in the terms of the file.
#include "oci/dockerfile.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <regex>

#include "base/text.h"
#include "host/pieces.h"
#include "host/process.h"
#include "store/erofs.h"

namespace kiln::oci {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kReadBytes = std::size_t{1} << 20;
constexpr std::size_t kQuotedLines = 12;

// One instruction: its lines joined and its white space collapsed.
struct Instruction {
  int line = 0;
  std::string text;
};

std::string collapsed(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool space = c == ' ' || c == '\t' || c == '\r' || c == '\n';
    if (!space) out += c;
    if (space && !out.empty() && out.back() != ' ') out += ' ';
  }
  return std::string(trim(out));
}

std::vector<Instruction> instructions(std::string_view text) {
  std::vector<Instruction> found;
  bool goes_on = false;
  int number = 0;
  for (const std::string& line : split(text, '\n')) {
    ++number;
    std::string_view rest = trim(line);
    if (rest.empty() || rest.front() == '#') continue;
    const bool continued = rest.ends_with('\\');
    if (continued) rest.remove_suffix(1);
    if (!goes_on) found.push_back({number, ""});
    found.back().text += " " + std::string(rest);
    goes_on = continued;
  }
  for (Instruction& one : found) one.text = collapsed(one.text);
  return found;
}

void check_there(const Dockerfile& dockerfile) {
  if (!fs::is_regular_file(dockerfile.file))
    throw Error(ErrorCode::usage, fmt::format("there is no Dockerfile {}", dockerfile.file.string()));
  if (!fs::is_directory(dockerfile.context))
    throw Error(ErrorCode::usage, fmt::format("there is no folder {} to build in", dockerfile.context.string()));
}

host::Command buildah(const fs::path& storage, const std::vector<std::string>& words) {
  if (host::find_program("buildah").empty()) {
    throw Error(ErrorCode::missing_program, "the program 'buildah' is not installed; Dockerfiles are built by it",
                "Install it: apt-get install buildah");
  }
  host::Command command;
  // Its mounts are in a namespace of its own, and all that it starts ends with it, which ends with us.
  command.argv = {"unshare",
                  "--mount",
                  "--pid",
                  "--fork",
                  "--kill-child",
                  "--mount-proc",
                  "buildah",
                  "--root",
                  (storage / "root").string(),
                  "--runroot",
                  (storage / "run").string(),
                  "--storage-driver",
                  "overlay"};
  command.argv.insert(command.argv.end(), words.begin(), words.end());
  command.env = {{"TMPDIR", (storage / "tmp").string()}, {"BUILDAH_ISOLATION", "chroot"}, {"STORAGE_DRIVER", ""}};
  return command;
}

void hash_tree(const fs::path& path, const std::string& name, Sha256& sha) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) throw Error(ErrorCode::io, fmt::format("{} cannot be read", path.string()));
  sha.update(fmt::format("{}\n{:o}\n{}\n", name, info.st_mode, S_ISREG(info.st_mode) ? info.st_size : 0));
  if (S_ISLNK(info.st_mode)) sha.update(fs::read_symlink(path).string() + "\n");
  if (S_ISREG(info.st_mode))
    host::read_pieces(path, host::Links::refuse, [&](std::string_view piece) { sha.update(piece); });
  if (!S_ISDIR(info.st_mode)) return;
  for (const std::string& child : host::list_folder(path)) {
    if (child != ".git") hash_tree(path / child, name + "/" + child, sha);
  }
}

}  // namespace

int line_of_step(std::string_view dockerfile, std::string_view step) {
  const std::string wanted = collapsed(step);
  for (const Instruction& one : instructions(dockerfile)) {
    if (to_lower(one.text) == to_lower(wanted)) return one.line;
  }
  // buildah puts arguments in: then the kind and the longest beginning that agrees decide.
  int best_line = 0;
  std::size_t best = wanted.find(' ');
  if (best == std::string::npos) return 0;
  for (const Instruction& one : instructions(dockerfile)) {
    std::size_t agree = 0;
    while (agree < wanted.size() && agree < one.text.size() && wanted[agree] == one.text[agree]) ++agree;
    if (agree > best) std::tie(best, best_line) = std::pair(agree, one.line);
  }
  return best_line;
}

Error build_error(const host::Path& file, std::string_view text, std::string_view said, int status) {
  const std::string all(said);
  std::smatch match;
  int line = 0;
  static const std::regex at_step(R"re(building at STEP "([^\n]*?)": )re");
  static const std::regex at_line(R"((?:[Pp]arse error|[Ss]yntax error)[^\n]*line (\d+))");
  if (std::regex_search(all, match, at_step)) line = line_of_step(text, match[1].str());
  if (line == 0 && std::regex_search(all, match, at_line))
    line = static_cast<int>(parse_int(match[1].str()).value_or(0));
  // Without a line in the message: the last step that it announced.
  if (line == 0) {
    static const std::regex announced(R"(STEP \d+/\d+: ([^\n]*))");
    for (auto at = std::sregex_iterator(all.begin(), all.end(), announced); at != std::sregex_iterator(); ++at)
      line = line_of_step(text, (*at)[1].str());
  }
  const std::vector<std::string> lines = split(text, '\n');
  std::string message = file.string();
  if (line > 0) message += fmt::format(":{}", line);
  message += fmt::format(": buildah ended with status {}\n", status);
  if (line > 0 && static_cast<std::size_t>(line) <= lines.size())
    message += fmt::format("  {} | {}\n", line, lines[static_cast<std::size_t>(line) - 1]);
  message += last_lines(said, kQuotedLines);
  const bool full = all.find("no space left") != std::string::npos;
  const bool away = all.find("dial tcp") != std::string::npos || all.find("no such host") != std::string::npos;
  const ErrorCode code = full ? ErrorCode::disk_full : away ? ErrorCode::unavailable : ErrorCode::io;
  return {code, std::move(message), full ? "free some space, or move KILN_HOME" : ""};
}

void build(const Dockerfile& dockerfile, const host::Path& storage, const host::Path& layout,
           const std::function<void(std::string_view)>& on_output, const std::function<bool()>& cancelled) {
  check_there(dockerfile);
  if (::geteuid() != 0)
    throw Error(ErrorCode::denied, "building a Dockerfile needs root: its steps run in a root of their own",
                "run it again with sudo");
  for (const char* folder : {"root", "run", "tmp"}) host::make_folders(storage / folder);
  const host::TemporaryFolder work("build-", storage / "tmp");
  const fs::path name_file = work.path() / "image";
  std::vector<std::string> words = {"bud",
                                    "--isolation",
                                    "chroot",
                                    "--format",
                                    "oci",
                                    "--layers",
                                    "--force-rm",
                                    "--network",
                                    "host",
                                    "--timestamp",
                                    fmt::format("{}", store::kLayerEpochSeconds),
                                    "--iidfile",
                                    name_file.string(),
                                    "--file",
                                    fs::absolute(dockerfile.file).string()};
  if (!dockerfile.target.empty()) words.insert(words.end(), {"--target", dockerfile.target});
  for (const auto& [name, value] : dockerfile.args) words.insert(words.end(), {"--build-arg", name + "=" + value});
  words.push_back(fs::absolute(dockerfile.context).string());
  std::string said;
  host::Command command = buildah(storage, words);
  command.cwd = fs::absolute(dockerfile.context).string();
  command.cancelled = cancelled;
  command.on_output = [&](std::string_view bytes) {
    said += bytes;
    if (said.size() > 2 * kReadBytes) said.erase(0, said.size() - kReadBytes);
    if (on_output) on_output(bytes);
  };
  if (const host::CommandResult result = host::run(command); !result.ok())
    throw build_error(dockerfile.file, host::read_file(dockerfile.file), said, result.status);
  const std::string image(trim(host::read_file(name_file)));
  host::Command push = buildah(storage, {"push", "--quiet", image, fmt::format("oci:{}:image", layout.string())});
  push.cancelled = cancelled;
  host::run_checked(push);
}

Digest inputs_of(const Dockerfile& dockerfile) {
  check_there(dockerfile);
  Sha256 sha;
  const std::string text = host::read_file(dockerfile.file);
  sha.update(text);
  sha.update(fmt::format("\ntarget {}\n", dockerfile.target));
  for (const auto& [name, value] : dockerfile.args) sha.update(fmt::format("{}={}\n", name, value));
  // A layout that FROM names, itself or by an argument, may change without the Dockerfile.
  std::vector<std::string> named;
  for (const Instruction& one : instructions(text)) {
    if (to_lower(one.text).starts_with("from ")) named.push_back(one.text);
  }
  for (const auto& [name, value] : dockerfile.args) named.push_back(" " + value);
  for (const std::string& one : named) {
    static const std::regex layout(R"(.* oci:([^: ]+).*)");
    std::smatch match;
    if (!std::regex_match(one, match, layout)) continue;
    const fs::path index = dockerfile.context / match[1].str() / "index.json";
    if (fs::is_regular_file(index)) sha.update(host::read_file(index));
  }
  hash_tree(dockerfile.context, "", sha);
  return sha.finish();
}

}  // namespace kiln::oci
