// Contents: overlayfs's rules on listings, dpkg's paragraphs, and maps compared.
#include "catalog/contents.h"

#include <fmt/format.h>

#include "base/text.h"

namespace kiln::catalog {
namespace {

using store::ListedFile;

constexpr std::string_view kUnitFolder = "/etc/systemd/system/";

void remove_below(std::map<std::string, ListedFile>& files, const std::string& folder) {
  const std::string prefix = folder + "/";
  auto next = files.lower_bound(prefix);
  while (next != files.end() && next->first.starts_with(prefix)) next = files.erase(next);
}

void lay(Contents& contents, const store::Listing& layer) {
  for (const std::string& name : layer.removed) {
    contents.files.erase(name);
    remove_below(contents.files, name);
  }
  for (const std::string& name : layer.opaque) remove_below(contents.files, name);
  for (const auto& [name, file] : layer.files) {
    // A file in the place of a folder hides what was in it.
    if (file.type != 'd') remove_below(contents.files, name);
    contents.files[name] = file;
  }
  if (layer.dpkg_status) contents.packages = parse_dpkg_status(*layer.dpkg_status);
}

// systemctl enable makes links: multi-user.target.wants/nginx.service.
void find_units(Contents& contents) {
  for (auto at = contents.files.lower_bound(std::string(kUnitFolder));
       at != contents.files.end() && at->first.starts_with(kUnitFolder); ++at) {
    if (at->second.type != 'l') continue;
    const std::string rest = at->first.substr(kUnitFolder.size());
    const std::size_t slash = rest.find('/');
    if (slash == std::string::npos) {
      if (at->second.content == "/dev/null") contents.units[rest] = "masked";
      continue;
    }
    const std::string folder = rest.substr(0, slash);
    if (folder.ends_with(".wants") || folder.ends_with(".requires")) contents.units[rest.substr(slash + 1)] = folder;
  }
}

std::string describe(const ListedFile& file) {
  return fmt::format("{} {:04o} {}:{}{}{}", file.type, file.mode, file.uid, file.gid,
                     file.type == 'f' ? fmt::format(" {}", file.size_bytes) : "",
                     file.content.empty() ? "" : " " + file.content);
}

std::string describe(const std::string& text) { return text; }

template <typename Value>
std::vector<Change> compare(const std::map<std::string, Value>& before, const std::map<std::string, Value>& after) {
  std::vector<Change> changes;
  auto left = before.begin();
  auto right = after.begin();
  while (left != before.end() || right != after.end()) {
    if (right == after.end() || (left != before.end() && left->first < right->first)) {
      changes.push_back({left->first, describe(left->second), ""});
      ++left;
    } else if (left == before.end() || right->first < left->first) {
      changes.push_back({right->first, "", describe(right->second)});
      ++right;
    } else {
      if (left->second != right->second)
        changes.push_back({left->first, describe(left->second), describe(right->second)});
      ++left;
      ++right;
    }
  }
  return changes;
}

}  // namespace

Packages parse_dpkg_status(std::string_view text) {
  Packages packages;
  std::string name, version, status;
  const auto end_paragraph = [&] {
    if (!name.empty() && status.ends_with(" installed")) packages[name] = version;
    name.clear();
    version.clear();
    status.clear();
  };
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty()) end_paragraph();
    if (line.starts_with("Package: ")) name = trim(line.substr(9));
    if (line.starts_with("Version: ")) version = trim(line.substr(9));
    if (line.starts_with("Status: ")) status = trim(line.substr(8));
  }
  end_paragraph();
  return packages;
}

Contents stack(const std::vector<store::Listing>& layers) {
  Contents contents;
  for (const store::Listing& layer : layers) lay(contents, layer);
  find_units(contents);
  return contents;
}

Difference difference(const Contents& before, const Contents& after) {
  return {compare(before.packages, after.packages), compare(before.units, after.units),
          compare(before.files, after.files)};
}

bool version_matches(std::string_view version, std::string_view wish) {
  if (!version.starts_with(wish)) return false;
  return wish.empty() || version.size() == wish.size() ||
         std::string_view("-+~.:").find(version[wish.size()]) != std::string_view::npos;
}

}  // namespace kiln::catalog
