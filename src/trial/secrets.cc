// Secrets: see secrets.h.
#include "trial/secrets.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <algorithm>
#include <map>

#include "base/text.h"

namespace kiln::trial {
namespace {

constexpr std::size_t kFindingsMax = 20;
constexpr off_t kKeyBytesMax = 64 * 1024;  // an RSA key of 16,384 bits has 13 KiB
constexpr int kDepthMax = 40;
constexpr const char* kRoots[] = {"etc", "home", "opt", "root", "srv", "usr/local", "var"};

// What a file of that name is, wherever it lies; by the end of its path.
struct Name {
  std::string_view end;
  std::string_view what;
  std::string_view holds{};  // only when this is in it
};
constexpr Name kNames[] = {
    {"/.ssh/authorized_keys", "keys that may log in"},
    {"/.ssh/authorized_keys2", "keys that may log in"},
    {"/.bash_history", "a shell's history"},
    {"/.zsh_history", "a shell's history"},
    {"/.ash_history", "a shell's history"},
    {"/.sh_history", "a shell's history"},
    {"/.python_history", "a history"},
    {"/.mysql_history", "a history"},
    {"/.psql_history", "a history"},
    {"/.aws/credentials", "credentials of AWS"},
    {"/.config/gcloud/credentials.db", "credentials of Google Cloud"},
    {"/.config/gcloud/application_default_credentials.json", "credentials of Google Cloud"},
    {"/.azure/accessTokens.json", "credentials of Azure"},
    {"/.docker/config.json", "credentials of a registry", "\"auth\""},
    {"/.kube/config", "credentials of Kubernetes", "client-key-data"},
    {"/.netrc", "passwords"},
    {"/.git-credentials", "passwords"},
    {"/.npmrc", "credentials of npm", "_authToken"},
    {"/.pypirc", "credentials of PyPI", "password"},
};
constexpr std::string_view kHostKey = "an ssh host key";
constexpr std::string_view kPrivateKey = "a private key";
constexpr std::string_view kMachineId = "every instance would be the same machine";
constexpr std::size_t kLinesMax = 200;  // of the script: more than are shown, because some may be excepted

bool is_whiteout(const struct stat& info) { return S_ISCHR(info.st_mode) && info.st_rdev == makedev(0, 0); }

bool is_opaque(const host::Path& folder) {
  char value = 0;
  return ::lgetxattr(folder.c_str(), "trusted.overlay.opaque", &value, 1) == 1 && value == 'y';
}

std::string content_of(const host::Path& path, const struct stat& info) {
  return info.st_size > kKeyBytesMax ? std::string() : host::read_file(path);
}

class Search {
 public:
  Search(const std::vector<host::Path>& layers, const std::vector<std::string>& except)
      : layers_(layers), except_(except) {}

  std::vector<std::string> run() {
    look_at_machine_id();
    for (const char* root : kRoots) {
      std::vector<host::Path> folders;
      for (const host::Path& layer : layers_) {
        if (!add_folder(layer, root, folders)) break;
      }
      walk(std::string("/") + root, folders, 0);
    }
    return found_;
  }

 private:
  // Whether layers below may add to it. A link is not followed: what it leads to is looked at where it lies.
  static bool add_folder(const host::Path& layer, const host::Path& path, std::vector<host::Path>& folders) {
    host::Path at = layer;
    bool opaque = false;
    struct stat info {};
    for (const host::Path& part : path) {
      at /= part;
      if (::lstat(at.c_str(), &info) != 0) return true;
      if (!S_ISDIR(info.st_mode)) return false;
      opaque = opaque || is_opaque(at);
    }
    folders.push_back(at);
    return !opaque;
  }

  // `folders` hold the same folder, the topmost first.
  void walk(const std::string& path, const std::vector<host::Path>& folders, int depth) {
    if (depth > kDepthMax) return;
    struct Seen {
      bool settled = false;  // what lies below it in other layers does not show
      std::vector<host::Path> folders{};
    };
    std::map<std::string, Seen> seen;
    for (const host::Path& folder : folders) {
      for (const std::string& name : host::list_folder(folder)) {
        Seen& entry = seen[name];
        if (entry.settled || found_.size() >= kFindingsMax) continue;
        const host::Path file = folder / name;
        struct stat info {};
        if (::lstat(file.c_str(), &info) != 0) continue;
        if (S_ISDIR(info.st_mode)) {
          entry.folders.push_back(file);
          entry.settled = is_opaque(file);
          continue;
        }
        // Below folders of layers above it, a file does not show.
        if (entry.folders.empty() && S_ISREG(info.st_mode)) look_at(path + "/" + name, file, info);
        entry.settled = true;
      }
    }
    for (const auto& [name, entry] : seen) {
      if (!entry.folders.empty()) walk(path + "/" + name, entry.folders, depth + 1);
    }
  }

  void look_at(const std::string& path, const host::Path& file, const struct stat& info) {
    if (info.st_size == 0) return;
    if (path.starts_with("/etc/ssh/ssh_host_") && path.ends_with("_key")) return report(path, kHostKey);
    for (const Name& name : kNames) {
      if (!path.ends_with(name.end)) continue;
      if (name.holds.empty() || content_of(file, info).find(name.holds) != std::string::npos) {
        return report(path, name.what);
      }
    }
    // "-----BEGIN PRIVATE KEY-----", "... RSA PRIVATE KEY", "... OPENSSH PRIVATE KEY", "... ENCRYPTED PRIVATE KEY".
    const std::string content = content_of(file, info);
    const auto begin = content.find("-----BEGIN ");
    if (begin == std::string::npos || content.find("PRIVATE KEY-----", begin) == std::string::npos) return;
    // A program or a page that speaks of keys is no key: base64 follows one.
    const auto end = content.find("-----", content.find("PRIVATE KEY-----", begin) + 16);
    if (end != std::string::npos && end - begin > 100) report(path, kPrivateKey);
  }

  void look_at_machine_id() {
    for (const host::Path& layer : layers_) {
      const host::Path file = layer / "etc/machine-id";
      struct stat info {};
      if (::lstat(file.c_str(), &info) != 0) continue;
      if (is_whiteout(info) || !S_ISREG(info.st_mode)) return;
      const std::string id(trim(host::read_file(file)));
      if (!id.empty() && id != "uninitialized") report("/etc/machine-id", kMachineId);
      return;
    }
  }

  void report(const std::string& path, std::string_view what) {
    if (std::ranges::find(except_, path) != except_.end() || found_.size() >= kFindingsMax) return;
    found_.push_back(fmt::format("{}: {}", path, what));
  }

  const std::vector<host::Path>& layers_;
  const std::vector<std::string>& except_;
  std::vector<std::string> found_;
};

}  // namespace

std::vector<std::string> secrets_in(const std::vector<host::Path>& layers, const std::vector<std::string>& except) {
  return Search(layers, except).run();
}

std::string secrets_question(const std::string& root) {
  std::string script = fmt::format("cd '{}' || exit\nroots=\nfor folder in", root);
  for (const char* folder : kRoots) script += fmt::format(" {}", folder);
  script +=
      "; do [ -d $folder ] && roots=\"$roots $folder\"; done\n"
      "files() { find $roots -xdev -type f -size +0 \"$@\"; }\n"
      "say() { while read -r file; do echo \"/$file: $1\"; done; }\n{\n"
      "id=$(cat etc/machine-id)\n";
  script += fmt::format("[ -z \"$id\" ] || [ \"$id\" = uninitialized ] || echo '/etc/machine-id: {}'\n", kMachineId);
  script += fmt::format("files -path 'etc/ssh/ssh_host_*_key' | say '{}'\n", kHostKey);
  for (const Name& name : kNames) {
    script += fmt::format("files -path '*{}'", name.end);
    if (!name.holds.empty()) script += fmt::format(" -exec grep -l -F -e '{}' -- {{}} +", name.holds);
    script += fmt::format(" | say \"{}\"\n", name.what);
  }
  // With -z a whole text is one line. [:space:] takes line ends, and the rest is what PEM has between its marks.
  script += fmt::format(
      "files -size -{}c -exec grep -l -z -E -e '-----BEGIN [A-Z ]*PRIVATE "
      "KEY-----[A-Za-z0-9+/=:,[:space:]-]{{60,}}-----END' -- {{}} + | say '{}'\n",
      kKeyBytesMax + 1, kPrivateKey);
  // A file is named once, for the first that it is.
  return script + fmt::format("}} 2>/dev/null | awk -F': ' '!seen[$1]++' | head -n {}\n", kLinesMax);
}

std::vector<std::string> read_secrets(std::string_view answer, const std::vector<std::string>& except) {
  std::vector<std::string> found;
  for (const std::string& line : split(answer, '\n')) {
    const std::string path = line.substr(0, line.find(": "));
    if (line.empty() || std::ranges::find(except, path) != except.end()) continue;
    if (found.size() < kFindingsMax) found.push_back(line);
  }
  return found;
}

}  // namespace kiln::trial
