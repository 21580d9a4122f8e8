// Config: environment and shared files, in AWS's order.
#include "aws/config.h"

#include <algorithm>
#include <cstdlib>

#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"
#include "host/file.h"

namespace kiln::aws {

namespace {

constexpr int attempts_default = 3;  // the SDKs' standard mode
constexpr int attempts_limit = 20;

const IniValue* value_of(const IniFile& file, const std::string& section, const std::string& key) {
  auto found = file.find(section);
  if (found == file.end()) {
    return nullptr;
  }
  auto value = found->second.values.find(key);
  return value == found->second.values.end() || value->second.text.empty() ? nullptr : &value->second;
}

// In the config file a profile's section is called "profile NAME", but for "default".
std::string config_section(const IniFile& config, const std::string& profile) {
  std::string prefixed = "profile " + profile;
  return profile == "default" && !config.contains(prefixed) ? profile : prefixed;
}

std::optional<IniFile> read_ini(const std::string& path) {
  std::string text;
  try {
    text = host::read_file(path);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::not_found) {
      return std::nullopt;
    }
    throw;
  }
  return parse_ini(text, path);
}

// "Auto Scaling" → "auto_scaling"
std::string service_key(const std::string& service_id) {
  std::string key = to_lower(service_id);
  std::replace_if(
      key.begin(), key.end(), [](char c) { return c == ' ' || c == '-'; }, '_');
  return key;
}

std::string to_upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
  return text;
}

std::string checked_origin(const std::string& url, const std::string& where) {
  std::string_view rest = url;
  const bool scheme = url.starts_with("http://") || url.starts_with("https://");
  rest.remove_prefix(scheme ? url.find("//") + 2 : 0);
  if (rest.ends_with('/')) {
    rest.remove_suffix(1);
  }
  const bool odd = std::any_of(rest.begin(), rest.end(), [](char c) {
    return c <= ' ' || c == 127 || std::string_view("/?#@\\\"<>").find(c) != std::string_view::npos;
  });
  if (!scheme || rest.empty() || odd) {
    // Not shown: an URL may hold a password.
    throw Error(ErrorCode::usage, fmt::format("the endpoint in {} is not of the form http://host:port", where),
                fmt::format("correct {}; a path, a query or a user in it is not served", where));
  }
  return url.ends_with('/') ? url.substr(0, url.size() - 1) : url;
}

const char* const how_to_give_credentials =
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run `aws configure`; for a region on this machine, run `eval "
    "\"$(kiln region env)\"`";

}  // namespace

Environment process_environment() {
  return [](const std::string& name) {
    const char* value = std::getenv(name.c_str());
    return std::string(value == nullptr ? "" : value);
  };
}

Config Config::load(const Environment& environment, const Overrides& overrides) {
  Config config;
  config.environment_ = environment;
  config.overrides_ = overrides;
  const std::string home = environment("HOME");
  auto path_of = [&](const char* variable, const char* name) {
    std::string path = environment(variable);
    if (path.starts_with("~/")) {
      path = home + path.substr(1);
    }
    return path.empty() ? home + "/.aws/" + name : path;
  };
  config.config_path_ = path_of("AWS_CONFIG_FILE", "config");
  config.credentials_path_ = path_of("AWS_SHARED_CREDENTIALS_FILE", "credentials");
  if (auto file = read_ini(config.config_path_)) {
    config.config_exists_ = true;
    config.config_ = *std::move(file);
  }
  if (auto file = read_ini(config.credentials_path_)) {
    config.credentials_exists_ = true;
    config.credentials_ = *std::move(file);
  }

  std::string wanted = overrides.profile.empty() ? environment("AWS_PROFILE") : overrides.profile;
  config.profile_ = wanted.empty() ? "default" : wanted;
  const bool known = config.credentials_.contains(config.profile_) ||
                     config.config_.contains(config_section(config.config_, config.profile_));
  if (!wanted.empty() && wanted != "default" && !known) {
    std::vector<std::string> names;
    for (const auto& [title, section] : config.credentials_) {
      names.push_back(title);
    }
    for (const auto& [title, section] : config.config_) {
      names.push_back(title.starts_with("profile ") ? title.substr(8) : title);
    }
    auto near = nearest(wanted, names);
    throw Error(ErrorCode::usage,
                fmt::format("profile '{}' ({}) is in neither {}{} nor {}{}", wanted,
                            overrides.profile.empty() ? "AWS_PROFILE" : "--profile", config.config_path_,
                            config.config_exists_ ? "" : " (no such file)", config.credentials_path_,
                            config.credentials_exists_ ? "" : " (no such file)"),
                near ? fmt::format("did you mean '{}'?", *near)
                     : "add the profile with `aws configure --profile NAME`, or unset AWS_PROFILE");
  }
  return config;
}

std::optional<Config::Found> Config::setting(const std::string& variable, const std::string& key) const {
  if (!variable.empty()) {
    if (std::string value = environment_(variable); !value.empty()) {
      return Found{value, variable};
    }
  }
  // A profile's settings may stand in either file; the credentials file wins, as with AWS's tools.
  if (const IniValue* value = value_of(credentials_, profile_, key)) {
    return Found{value->text, fmt::format("{}:{}", credentials_path_, value->line)};
  }
  if (const IniValue* value = value_of(config_, config_section(config_, profile_), key)) {
    return Found{value->text, fmt::format("{}:{}", config_path_, value->line)};
  }
  return std::nullopt;
}

wire::Credentials Config::credentials() const {
  if (overrides_.profile.empty()) {  // a profile named on the command line is meant, whatever the environment says
    wire::Credentials found{environment_("AWS_ACCESS_KEY_ID"), environment_("AWS_SECRET_ACCESS_KEY"),
                            environment_("AWS_SESSION_TOKEN")};
    if (found.access_key.empty() != found.secret_key.empty()) {
      throw Error(ErrorCode::denied,
                  found.secret_key.empty() ? "AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY is not"
                                           : "AWS_SECRET_ACCESS_KEY is set, but AWS_ACCESS_KEY_ID is not",
                  "set both, or neither");
    }
    if (!found.access_key.empty()) {
      return found;
    }
  }
  const std::string section = config_section(config_, profile_);
  for (const auto& [file, title, path] :
       {std::tuple(&credentials_, profile_, credentials_path_), std::tuple(&config_, section, config_path_)}) {
    const IniValue* key = value_of(*file, title, "aws_access_key_id");
    const IniValue* secret = value_of(*file, title, "aws_secret_access_key");
    const IniValue* token = value_of(*file, title, "aws_session_token");
    if ((key == nullptr) != (secret == nullptr)) {
      throw Error(ErrorCode::denied,
                  fmt::format("{}:{}: profile '{}' has {} but no {}", path, (key ? key : secret)->line, profile_,
                              key ? "aws_access_key_id" : "aws_secret_access_key",
                              key ? "aws_secret_access_key" : "aws_access_key_id"),
                  "add the missing setting");
    }
    if (key != nullptr) {
      return {key->text, secret->text, token == nullptr ? "" : token->text};
    }
  }
  for (const char* other :
       {"role_arn", "sso_session", "sso_start_url", "credential_process", "web_identity_token_file"}) {
    if (auto found = setting("", other)) {
      throw Error(
          ErrorCode::unsupported,
          fmt::format("{}: profile '{}' takes its credentials from {}, which Kiln cannot do yet", found->where,
                      profile_, other),
          fmt::format("run `eval \"$(aws configure export-credentials --profile {} --format env)\"` first", profile_));
    }
  }
  throw Error(
      ErrorCode::denied,
      fmt::format("no AWS credentials: {}AWS_ACCESS_KEY_ID is not set, profile '{}' has none in {}{} and {}{}",
                  overrides_.profile.empty() ? "" : "(not asked for) ", profile_, credentials_path_,
                  credentials_exists_ ? "" : " (no such file)", config_path_, config_exists_ ? "" : " (no such file)"),
      how_to_give_credentials);
}

std::string Config::credentials_source() const {
  credentials();  // throws when there are none
  if (overrides_.profile.empty() && !environment_("AWS_ACCESS_KEY_ID").empty()) {
    return "environment";
  }
  const bool in_credentials = value_of(credentials_, profile_, "aws_access_key_id") != nullptr;
  return fmt::format("profile {} in {}", profile_, in_credentials ? credentials_path_ : config_path_);
}

std::string Config::region() const {
  std::optional<Found> found;
  if (!overrides_.region.empty()) {
    found = Found{overrides_.region, "--region"};
  } else if (std::string value = environment_("AWS_REGION"); !value.empty()) {
    found = Found{value, "AWS_REGION"};
  } else {
    found = setting("AWS_DEFAULT_REGION", "region");
  }
  if (!found) {
    throw Error(
        ErrorCode::usage,
        fmt::format("no AWS region: AWS_REGION is not set, and profile '{}' names none in {}", profile_, config_path_),
        "set AWS_REGION, for example to us-east-1");
  }
  // It becomes part of a host name and of the signature's scope.
  constexpr std::size_t length_max = 63;
  const bool good = found->value.size() <= length_max &&
                    std::all_of(found->value.begin(), found->value.end(),
                                [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
  if (!good) {
    throw Error(ErrorCode::usage, fmt::format("'{}' ({}) is no name of an AWS region", found->value, found->where),
                "write it as us-east-1");
  }
  return found->value;
}

std::optional<Config::Found> Config::endpoint_setting(const std::string& service_id) const {
  if (!overrides_.endpoint.empty()) {
    return Found{overrides_.endpoint, "--endpoint-url"};
  }
  auto ignored = setting("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "ignore_configured_endpoint_urls");
  if (ignored && to_lower(ignored->value) == "true") {
    return std::nullopt;
  }
  const std::string key = service_key(service_id);
  for (const std::string& variable : {"AWS_ENDPOINT_URL_" + to_upper(key), std::string("AWS_ENDPOINT_URL")}) {
    if (std::string value = environment_(variable); !value.empty()) {
      return Found{value, variable};
    }
  }
  if (auto services = setting("", "services")) {
    auto section = config_.find("services " + services->value);
    if (section == config_.end()) {
      throw Error(
          ErrorCode::usage,
          fmt::format("{}: there is no section [services {}] in {}", services->where, services->value, config_path_),
          "add it, or correct the name");
    }
    if (auto service = section->second.values.find(key); service != section->second.values.end()) {
      if (auto url = service->second.nested.find("endpoint_url"); url != service->second.nested.end()) {
        return Found{url->second, fmt::format("{}:{}", config_path_, service->second.line)};
      }
    }
  }
  return setting("", "endpoint_url");
}

std::string Config::endpoint(const std::string& service_id, const std::string& prefix) const {
  if (auto found = endpoint_setting(service_id)) {
    return checked_origin(found->value, found->where);
  }
  return aws_endpoint(prefix, region());
}

int Config::attempts_max() const {
  auto found = setting("AWS_MAX_ATTEMPTS", "max_attempts");
  if (!found) {
    return attempts_default;
  }
  auto number = parse_int(found->value);
  if (!number || *number < 1 || *number > attempts_limit) {
    throw Error(ErrorCode::usage, fmt::format("'{}' ({}) is no number of attempts", found->value, found->where),
                fmt::format("write a number from 1 to {}", attempts_limit));
  }
  return static_cast<int>(*number);
}

std::string aws_endpoint(const std::string& prefix, const std::string& region) {
  const char* domain = region.starts_with("cn-") ? "amazonaws.com.cn" : "amazonaws.com";
  return fmt::format("https://{}.{}.{}", prefix, region, domain);
}

}  // namespace kiln::aws
