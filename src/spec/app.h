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
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/time.h"

namespace kiln::spec {

// 1-based, as editors count; line 0: not written in the file.
struct Location {
  int line = 0;
  int column = 0;
  bool operator==(const Location&) const = default;
};

// The file as it was read, to quote from.
struct Source {
  std::string file_name;
  std::string text;
  // "kiln.yaml:7:3".
  std::string at(Location where) const;
  // The line and a caret below the column, two lines without a trailing newline; empty when `where` is not in the file.
  std::string quote(Location where) const;
  // Error(usage): "<at>: <message>", then the quoted line.
  Error error(Location where, const std::string& message, std::string next = {}) const;
};

struct PackagesStep {
  std::vector<std::string> packages;  // as written: "nginx" or "nginx=1.22.1-9"
};

struct CopyStep {
  std::string from;  // relative to the app's folder; a trailing '/' means: what is in the folder
  std::string to;    // absolute; a trailing '/' means: into this folder
  std::optional<unsigned>
      mode;  // of the files; folders get the x bits that belong to it. Else: 0755 or 0644, by the source's x bit
  std::uint32_t uid = 0;  // `owner: 33:33`; numbers, because the image's own user names are not known here
  std::uint32_t gid = 0;
};

struct RunStep {
  std::vector<std::string> commands;  // each by `/bin/sh -ec`, in order
};

struct EnableStep {
  std::vector<std::string> units;  // with suffix: "nginx.service"
};

struct Step {
  Location where;
  std::variant<PackagesStep, CopyStep, RunStep, EnableStep> action;
  // One line for people: "packages nginx", "copy site/ /var/www/html/".
  std::string text() const;
};

enum class VersionKind { literal, git, timestamp };

struct ImageSpec {
  Location where;
  std::string release;  // `from: debian:bookworm` → "bookworm"
  VersionKind version_kind = VersionKind::git;
  std::string version;  // of a literal; semver without a leading "v"
  std::vector<Step> steps;
  // `writable:` in the file makes the root read-only but for these (absolute, sorted, unique). Without it all can be
  // written.
  std::optional<std::vector<std::string>> writable;
};

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

struct App {
  Source source;
  std::string name;
  ImageSpec image;
  std::optional<FleetSpec> fleet;
  DeploySpec deploy;
  // In the order of the file, which is the order of promotion. Never empty: a file without `environments` has one,
  // `local`.
  std::vector<Environment> environments;

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
