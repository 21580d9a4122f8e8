// Config: which account, region and endpoints to use, found where AWS's own tools look for them.
//
// Order: what the command line says, the environment, the profile in the shared files.
// https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "aws/ini.h"
#include "wire/sigv4.h"

namespace kiln::aws {

// Reads one environment variable; unset and empty are the same.
using Environment = std::function<std::string(const std::string& name)>;
Environment process_environment();

// What the command line overrides; empty means not given.
struct Overrides {
  std::string profile;
  std::string region;
  std::string endpoint;
};

class Config {
 public:
  // Reads the environment and the shared files (AWS_CONFIG_FILE, AWS_SHARED_CREDENTIALS_FILE, AWS_PROFILE). A file that
  // is not there is fine; a profile that was asked for by name and is in none of them is an Error(usage).
  static Config load(const Environment& environment, const Overrides& overrides = {});

  // Throws Error(denied) that says where it looked and what to do. Never shows a secret.
  wire::Credentials credentials() const;
  // "environment", "profile dev in /root/.aws/credentials"; for `kiln doctor`.
  std::string credentials_source() const;
  // "us-east-1"; throws Error(usage) when none is set.
  std::string region() const;
  // The origin to send to: AWS_ENDPOINT_URL_<SERVICE>, AWS_ENDPOINT_URL, the profile's `services` section, its
  // `endpoint_url`, else AWS's own address. `service_id` is the model's ("Auto Scaling"), `prefix` its endpoint prefix
  // ("autoscaling"). Throws Error(usage) for an URL that is not http(s)://host[:port].
  std::string endpoint(const std::string& service_id, const std::string& prefix) const;
  // AWS_MAX_ATTEMPTS or the profile's `max_attempts`, else 3; 1 to 20.
  int attempts_max() const;
  // "default", or what AWS_PROFILE or the command line says.
  const std::string& profile() const { return profile_; }

 private:
  Config() = default;
  struct Found {
    std::string value;
    std::string where;  // "AWS_REGION", "/root/.aws/config:3"
  };
  std::optional<Found> setting(const std::string& variable, const std::string& key) const;
  std::optional<Found> endpoint_setting(const std::string& service_id) const;

  Environment environment_;
  Overrides overrides_;
  std::string profile_;
  std::string config_path_, credentials_path_;
  bool config_exists_ = false, credentials_exists_ = false;
  IniFile config_, credentials_;
};

// "https://autoscaling.us-east-1.amazonaws.com"; partitions aws, aws-cn and aws-us-gov by the region's name.
std::string aws_endpoint(const std::string& prefix, const std::string& region);

}  // namespace kiln::aws
