// App: what the user asks for in kiln.yaml, read, checked and typed.
//
// `parse_app` accepts what this version can do and nothing else. Whatever it does not know, or knows but cannot do yet,
// is an Error(usage) that quotes the line: "kiln.yaml:7:3: unknown key 'pakages'; did you mean 'packages'?". Nothing is
// ignored. Every default is filled in here; the other rooms never guess.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "spec/recipe.h"

namespace kiln::spec {

// Limits are those of the Elastic Load Balancing API.
struct HealthSpec {
  std::string path = "/";
  Duration interval = std::chrono::seconds(10);
  Duration timeout = std::chrono::seconds(5);  // always below the interval
  int healthy = 2;                             // successes in a row
  int unhealthy = 2;                           // failures in a row
  std::string status = "200";                  // ELBv2's matcher: "200", "200,301", "200-299"
};

struct ListenSpec {
  int port = 80;
  int target_port = 80;  // `port` unless it is given
};

struct FleetSpec {
  Location where;
  int size = 1;
  int min = 1;  // `size` unless it is given
  int max = 2;  // twice `size` unless it is given
  std::string instance_type = "t3.micro";
  ListenSpec listen;
  HealthSpec health;
  Duration drain = std::chrono::seconds(30);  // deregistration delay
  Duration warmup = std::chrono::seconds(0);  // DefaultInstanceWarmup
  Duration grace = std::chrono::seconds(60);  // HealthCheckGracePeriod
};

enum class Strategy { rolling };
enum class Rollback { automatic, manual };

struct DeploySpec {
  Strategy strategy = Strategy::rolling;
  Duration bake = std::chrono::seconds(0);  // how long the new version must hold before it is final
  Rollback rollback = Rollback::automatic;
  Duration timeout = std::chrono::minutes(30);
  bool tested = false;     // only what has passed its tests is deployed
  bool is_signed = false;  // only what a trusted key has signed
};

struct Environment {
  Location where{};
  std::string name{};
  bool local = true;       // `endpoint: local`: the region on this machine
  std::string endpoint{};  // a URL; empty with `local`, and for AWS's own endpoints
  std::string region = "us-east-1";
  std::optional<FleetSpec> fleet{};  // the app's, with this environment's overrides applied
  DeploySpec deploy{};               // likewise
};

// What must hold before a channel may point at an image.
struct ChannelSpec {
  Location where;
  std::string name;
  bool tested = false;
  bool is_signed = false;
  std::string from{};                      // another channel
  std::string deployed{};                  // an environment, or "any"
  std::vector<std::string> approved_by{};  // "ana@forge"
};

struct App {
  Source source;
  std::string name;
  ImageSpec image;
  std::optional<FleetSpec> fleet;
  DeploySpec deploy;
  // In the order of the file, which is the order of promotion. Never empty: a file without `environments` has one,
  // `local`.
  std::vector<Environment> environments;
  std::vector<ChannelSpec> channels;  // in the order of the file; empty without `channels`

  // The first one for an empty name; Error(usage) that names the nearest.
  const Environment& environment(std::string_view environment_name) const;
};

inline constexpr std::size_t kAppFileBytesMax = std::size_t{1} << 20;

// `text` is the file's content; `file_name` is only quoted. Throws Error(usage).
App parse_app(std::string_view text, std::string file_name = "kiln.yaml");

// The JSON Schema (draft 2020-12) of what parse_app accepts, made from the same table of keys; ends with a newline.
// docs/kiln.schema.json is its copy.
std::string json_schema();

std::string_view to_string(Strategy strategy);
std::string_view to_string(Rollback rollback);

}  // namespace kiln::spec
