// Contents: overlayfs's rules on what was read of layers, and systemd's links.
#include "proof/contents.h"

namespace kiln::proof {
namespace {

constexpr std::string_view kUnitFolder = "/etc/systemd/system/";

template <typename Map>
void remove_below(Map& map, std::string_view folder) {
  const std::string prefix = std::string(folder) + "/";
  auto next = map.lower_bound(std::string_view(prefix));
  while (next != map.end() && next->first.starts_with(prefix)) next = map.erase(next);
}

void hide_below(Contents& contents, std::string_view folder) {
  remove_below(contents.files, folder);
  remove_below(contents.texts, folder);
}

void lay(Contents& contents, const LayerContents& layer) {
  for (const std::string& path : layer.opaque) hide_below(contents, path);
  for (const std::string& path : layer.removed) {
    hide_below(contents, path);
    contents.files.erase(path);
    contents.texts.erase(path);
  }
  auto next = contents.files.begin();
  for (const auto& [path, file] : layer.files) {
    next = contents.files.try_emplace(next, path, nullptr);
    // A file in the place of a folder hides what was in it, and the text of what it replaces.
    if (next->second != nullptr) {
      if (next->second->type == 'd' && file.type != 'd') hide_below(contents, path);
      contents.texts.erase(path);
    }
    next->second = &file;
    ++next;
  }
  for (const auto& [path, text] : layer.texts) contents.texts[path] = text;
}

// systemctl enable makes links: multi-user.target.wants/nginx.service.
void find_units(Contents& contents) {
  for (auto at = contents.files.lower_bound(kUnitFolder);
       at != contents.files.end() && at->first.starts_with(kUnitFolder); ++at) {
    if (at->second->type != 'l') continue;
    const std::string rest(at->first.substr(kUnitFolder.size()));
    const std::size_t slash = rest.find('/');
    if (slash == std::string::npos) {
      if (at->second->target == "/dev/null") contents.units[rest] = "masked";
      continue;
    }
    const std::string folder = rest.substr(0, slash);
    if (folder.ends_with(".wants") || folder.ends_with(".requires")) contents.units[rest.substr(slash + 1)] = folder;
  }
}

}  // namespace

std::string_view Contents::text(std::string_view path) const {
  const auto found = texts.find(path);
  return found == texts.end() ? std::string_view() : found->second;
}

Contents stack(Layers layers) {
  Contents contents;
  for (const auto& layer : layers) lay(contents, *layer);
  contents.layers = std::move(layers);
  find_units(contents);
  return contents;
}

Contents ContentsReader::of(const Digest& image) {
  std::map<Digest, std::shared_ptr<const LayerContents>> read;
  Layers layers;
  for (const store::Blob& blob : store_.image(image).layers) {
    auto& layer = read[blob.digest];
    if (const auto known = last_.find(blob.digest); !layer && known != last_.end()) layer = known->second;
    if (!layer) layer = std::make_shared<const LayerContents>(layer_contents(store_, blob.digest, kept_));
    layers.push_back(layer);
  }
  last_ = std::move(read);
  return stack(std::move(layers));
}

}  // namespace kiln::proof
