// Secrets: reading, and looking for what was left.
#include "bake/secrets.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "base/mask.h"
#include "host/pieces.h"

namespace kiln::bake {
namespace {

namespace fs = std::filesystem;

std::string value_of(const spec::App& app, const host::Path& app_folder, const spec::Secret& secret) {
  if (!secret.env.empty()) {
    const char* value = std::getenv(secret.env.c_str());
    if (value != nullptr) return value;
    throw app.source.error(secret.where,
                           fmt::format("the secret '{}' is not there: {} is not set", secret.name, secret.env),
                           "set it; sudo keeps it with --preserve-env=" + secret.env);
  }
  try {
    return host::read_file(app_folder / secret.file);
  } catch (const Error& error) {
    throw app.source.error(secret.where,
                           fmt::format("the secret '{}' cannot be read: {}", secret.name, error.message()));
  }
}

bool holds(const fs::path& file, const std::map<std::string, std::string>& secrets, std::size_t longest) {
  bool found = false;
  std::string window;
  host::read_pieces(file, host::Links::refuse, [&](std::string_view piece) {
    window.append(piece);
    for (const auto& [name, value] : secrets) found |= window.find(value) != std::string::npos;
    if (window.size() > longest) window.erase(0, window.size() - longest);
  });
  return found;
}

}  // namespace

std::map<std::string, std::string> read_secrets(const spec::App& app, const host::Path& app_folder,
                                                const std::vector<std::string>& names) {
  std::map<std::string, std::string> values;
  for (const std::string& name : names) {
    const auto secret = std::ranges::find(app.image.secrets, name, &spec::Secret::name);
    if (secret == app.image.secrets.end())
      throw Error(ErrorCode::usage, fmt::format("{}: there is no secret '{}'", app.source.file_name, name));
    std::string value = value_of(app, app_folder, *secret);
    while (!value.empty() && (value.back() == '\n' || value.back() == '\r')) value.pop_back();
    if (value.size() < kMaskedBytesMin)
      throw app.source.error(secret->where, fmt::format("the secret '{}' has fewer than {} characters: it could not be "
                                                        "kept out of the output",
                                                        name, kMaskedBytesMin));
    values[name] = std::move(value);
  }
  return values;
}

std::string file_with_a_secret(const host::Path& tree, const std::map<std::string, std::string>& secrets) {
  std::size_t longest = 0;
  for (const auto& [name, value] : secrets) longest = std::max(longest, value.size());
  for (const auto& entry : fs::recursive_directory_iterator(tree)) {
    if (!entry.is_symlink() && entry.is_regular_file() && holds(entry.path(), secrets, longest))
      return entry.path().lexically_relative(tree).string();
  }
  return {};
}

}  // namespace kiln::bake
