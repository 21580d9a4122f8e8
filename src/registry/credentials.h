// Credentials: who we are to a registry, as Docker, Podman and skopeo have written it down.
//
// Looked for in this order, and the first that knows the registry is used: KILN_REGISTRY_USER and
// KILN_REGISTRY_PASSWORD (for the one registry that KILN_REGISTRY_HOST names), $REGISTRY_AUTH_FILE,
// $DOCKER_CONFIG/config.json, $XDG_RUNTIME_DIR/containers/auth.json, ~/.docker/config.json. In a file, `credHelpers`,
// `auths` and `credsStore` are understood; a helper `x` is the program docker-credential-x, asked with `get`. Nothing
// is ever written.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace kiln::registry {

struct Credentials {
  std::string user;
  std::string password;
  std::string identity_token;  // instead of both: exchanged for a token at the registry's token service
  std::string source;          // where they were found, for messages
  bool operator==(const Credentials&) const = default;
};

using GetEnv = std::function<std::optional<std::string>(const char* name)>;
std::optional<std::string> process_env(const char* name);

// Nullopt: nobody wrote any down, so we are anonymous. `repository` chooses between entries for parts of one registry
// ("host/team"). Throws Error(usage) for a file that cannot be read as what it claims to be, Error(missing_program) or
// Error(denied) for a helper.
std::optional<Credentials> find_credentials(std::string_view registry, std::string_view repository, const GetEnv& env);

}  // namespace kiln::registry
