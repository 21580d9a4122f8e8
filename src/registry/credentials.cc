// Credentials: environment, files, helpers.
#include "registry/credentials.h"

#include <fmt/format.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/encoding.h"
#include "base/error.h"
#include "base/text.h"
#include "host/file.h"
#include "host/process.h"

namespace kiln::registry {
namespace {

using nlohmann::json;

constexpr std::string_view kDockerHubKey = "https://index.docker.io/v1/";
constexpr Duration kHelperTimeout{30'000};  // a helper may ask a keyring, or a cloud's service

std::string text_at(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// "https://host/v1/" → "host": the keys that older clients wrote.
std::string plain_key(std::string key) {
  for (std::string_view scheme : {"https://", "http://"}) {
    if (key.starts_with(scheme)) {
      key.erase(0, scheme.size());
      for (std::string_view version : {"/", "/v1", "/v2", "/"}) {
        if (key.ends_with(version)) key.erase(key.size() - version.size());
      }
    }
  }
  return key;
}

Credentials ask_helper(const std::string& helper, const std::string& server, const std::string& file) {
  if (helper.empty() || helper.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") !=
                            std::string::npos) {
    throw Error(ErrorCode::usage, fmt::format("{} names a credential helper '{}', which is no program's name", file,
                                              helper.substr(0, 100)));
  }
  host::Command command;
  command.argv = {"docker-credential-" + helper, "get"};
  command.input = server;
  command.timeout = kHelperTimeout;
  const host::CommandResult result = host::run(command);
  const json answer = json::parse(result.out, nullptr, false);
  if (!result.ok() || !answer.is_object()) {
    // Its stdout may hold a secret; what it says about a failure is short and in words.
    throw Error(ErrorCode::denied,
                fmt::format("docker-credential-{} (named in {}) gave no credentials for {}: {}", helper, file, server,
                            result.timed_out ? "it did not answer" : last_lines(result.err, 3)),
                "Log in again with the tool that wrote the file (docker login, podman login, skopeo login).");
  }
  Credentials found{text_at(answer, "Username"), text_at(answer, "Secret"), {}, "docker-credential-" + helper};
  if (found.user == "<token>") found = {{}, {}, found.password, found.source};
  return found;
}

std::optional<Credentials> from_entry(const json& entry, const std::string& file) {
  if (!entry.is_object()) return std::nullopt;
  Credentials found{text_at(entry, "username"), text_at(entry, "password"), text_at(entry, "identitytoken"), file};
  if (const std::string auth = text_at(entry, "auth"); !auth.empty()) {
    std::string pair;
    try {
      pair = base64_decode(auth);
    } catch (const Error&) {
      throw Error(ErrorCode::usage, fmt::format("{}: an 'auth' is not Base64", file));
    }
    const std::size_t colon = pair.find(':');
    if (colon == std::string::npos) throw Error(ErrorCode::usage, fmt::format("{}: an 'auth' has no colon", file));
    found.user = pair.substr(0, colon);
    found.password = pair.substr(colon + 1);
    while (found.password.ends_with('\0')) found.password.pop_back();  // some versions of Docker padded it
  }
  if (found.user.empty() && found.identity_token.empty()) return std::nullopt;  // {}: the secret is in credsStore
  return found;
}

// host/team/web, host/team, host: the longest that the file knows.
std::vector<std::string> keys_for(std::string_view registry, std::string_view repository) {
  std::vector<std::string> keys;
  std::string key = std::string(registry) + "/" + std::string(repository);
  while (key.size() > registry.size()) {
    if (!key.ends_with('/')) keys.push_back(key);
    key.erase(key.rfind('/'));
  }
  keys.emplace_back(registry);
  return keys;
}

std::optional<Credentials> from_file(const std::string& file, std::string_view registry, std::string_view repository) {
  const json config = json::parse(host::read_file(file), nullptr, false);
  if (!config.is_object()) {
    throw Error(ErrorCode::usage, fmt::format("{} is not JSON, so nobody can tell who we are to {}", file, registry),
                "Correct it, or log in again with the tool that wrote it.");
  }
  const bool hub = registry == "docker.io";
  const std::string server = hub ? std::string(kDockerHubKey) : std::string(registry);
  if (const auto helpers = config.find("credHelpers"); helpers != config.end() && helpers->is_object()) {
    if (const std::string helper = text_at(*helpers, std::string(registry).c_str()); !helper.empty()) {
      return ask_helper(helper, server, file);
    }
  }
  if (const auto auths = config.find("auths"); auths != config.end() && auths->is_object()) {
    for (const std::string& wanted : keys_for(registry, repository)) {
      for (const auto& [key, entry] : auths->items()) {
        if (plain_key(key) != wanted && !(hub && wanted == registry && key == kDockerHubKey)) continue;
        if (auto found = from_entry(entry, file)) return found;
        if (const std::string store = text_at(config, "credsStore"); !store.empty()) {
          return ask_helper(store, server, file);
        }
      }
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> process_env(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr || *value == '\0' ? std::nullopt : std::optional<std::string>(value);
}

std::optional<Credentials> find_credentials(std::string_view registry, std::string_view repository, const GetEnv& env) {
  if (const auto user = env("KILN_REGISTRY_USER")) {
    const auto host = env("KILN_REGISTRY_HOST");
    if (!host) {
      throw Error(ErrorCode::usage, "KILN_REGISTRY_USER is set, and KILN_REGISTRY_HOST is not",
                  "Set KILN_REGISTRY_HOST to the registry that user and password are for: no other shall see them.");
    }
    if (*host == registry)
      return Credentials{*user, env("KILN_REGISTRY_PASSWORD").value_or(""), {}, "KILN_REGISTRY_USER"};
  }
  std::vector<std::string> files;
  if (const auto file = env("REGISTRY_AUTH_FILE")) files.push_back(*file);
  if (const auto folder = env("DOCKER_CONFIG")) files.push_back(*folder + "/config.json");
  if (const auto folder = env("XDG_RUNTIME_DIR")) files.push_back(*folder + "/containers/auth.json");
  if (const auto home = env("HOME")) files.push_back(*home + "/.docker/config.json");
  for (const std::string& file : files) {
    if (!std::filesystem::exists(file)) continue;
    if (auto found = from_file(file, registry, repository)) return found;
  }
  return std::nullopt;
}

}  // namespace kiln::registry
