// App: from checked nodes to typed values, with every default filled in.
#include "spec/app.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "spec/internal/image_test_reader.h"
#include "spec/recipe_reader.h"
#include "spec/shape.h"
#include "spec/tree.h"

namespace kiln::spec {
namespace {

// Elastic Load Balancing: names of load balancers and target groups have at most 32 characters; "<app>-<environment>"
// is one.
constexpr std::size_t kResourceNameMax = 32;

void read_text(const Node& mapping, std::string_view key, std::string& into) {
  if (const Node* node = mapping.find(key)) into = node->text;
}

void read_int(const Node& mapping, std::string_view key, int& into) {
  if (const Node* node = mapping.find(key)) into = static_cast<int>(parse_int(node->text).value());
}

void read_duration(const Node& mapping, std::string_view key, Duration& into) {
  if (const Node* node = mapping.find(key)) into = parse_duration(node->text);
}

std::vector<std::string> read_texts(const Node& node) {
  if (node.is_scalar()) return {node.text};
  std::vector<std::string> texts;
  for (const auto& [none, value] : node.entries) texts.push_back(value.text);
  return texts;
}

ImageSpec read_image(const Source& source, const Node& node) {
  ImageSpec image = read_recipe(source, node);
  if (const Node* version = node.find("version")) {
    if (version->text == "timestamp") {
      image.version_kind = VersionKind::timestamp;
    } else if (version->text != "git") {
      image.version_kind = VersionKind::literal;
      image.version = version->text;
    }
  }
  if (const Node* test = node.find("test")) image.test = read_image_test(source, *test);
  if (const Node* writable = node.find("writable")) {
    image.writable = read_texts(*writable);
    for (std::string& folder : *image.writable) {
      if (folder.ends_with('/')) folder.pop_back();
    }
    std::ranges::sort(*image.writable);
    image.writable->erase(std::unique(image.writable->begin(), image.writable->end()), image.writable->end());
  }
  return image;
}

void read_health(const Source& source, const Node& node, HealthSpec& health) {
  read_text(node, "path", health.path);
  read_duration(node, "interval", health.interval);
  read_int(node, "healthy", health.healthy);
  read_int(node, "unhealthy", health.unhealthy);
  read_text(node, "status", health.status);
  read_duration(node, "timeout", health.timeout);
  if (health.timeout < health.interval) return;
  if (const Node* timeout = node.find("timeout")) {
    throw source.error(timeout->where, fmt::format("'timeout' ({}) must be less than 'interval' ({})",
                                                   format_duration(health.timeout), format_duration(health.interval)));
  }
  health.timeout = health.interval - std::chrono::seconds(1);
}

void read_fleet(const Source& source, const Node& node, FleetSpec& fleet) {
  fleet.where = node.where;
  if (node.find("size") != nullptr) {
    read_int(node, "size", fleet.size);
    fleet.min = fleet.size;
    fleet.max = std::max(1, 2 * fleet.size);
  }
  read_int(node, "min", fleet.min);
  read_int(node, "max", fleet.max);
  if (fleet.min > fleet.size || fleet.size > fleet.max) {
    throw source.error(node.where, fmt::format("'min' ({}), 'size' ({}) and 'max' ({}) must be in this order",
                                               fleet.min, fleet.size, fleet.max));
  }
  read_text(node, "instance_type", fleet.instance_type);
  if (const Node* listen = node.find("listen")) {
    read_int(*listen, "port", fleet.listen.port);
    if (listen->find("port") != nullptr) fleet.listen.target_port = fleet.listen.port;
    read_int(*listen, "target_port", fleet.listen.target_port);
  }
  if (const Node* health = node.find("health")) read_health(source, *health, fleet.health);
  read_duration(node, "drain", fleet.drain);
  read_duration(node, "warmup", fleet.warmup);
  read_duration(node, "grace", fleet.grace);
}

void read_deploy(const Node& node, DeploySpec& deploy) {
  if (const Node* rollback = node.find("rollback")) {
    deploy.rollback = rollback->text == "manual" ? Rollback::manual : Rollback::automatic;
  }
  read_duration(node, "bake", deploy.bake);
  read_duration(node, "timeout", deploy.timeout);
  if (const Node* requirements = node.find("requires")) {
    const std::vector<std::string> words = read_texts(*requirements);
    deploy.tested = std::ranges::find(words, "tested") != words.end();
    deploy.is_signed = std::ranges::find(words, "signed") != words.end();
  }
}

Environment read_environment(const App& app, const Node& name, const Node& node) {
  Environment environment{.where = name.where, .name = name.text, .fleet = app.fleet, .deploy = app.deploy};
  const Node* endpoint = node.find("endpoint");
  if (endpoint == nullptr && node.find("region") == nullptr) {
    throw app.source.error(name.where, fmt::format("'{}' does not say where it is", name.text),
                           "give it 'endpoint: local', or 'region:' for AWS");
  }
  environment.local = endpoint != nullptr && endpoint->text == "local";
  if (endpoint != nullptr && !environment.local) environment.endpoint = endpoint->text;
  read_text(node, "region", environment.region);
  if (const Node* fleet = node.find("fleet")) {
    if (!app.fleet)
      throw app.source.error(fleet->where, "there is no 'fleet' to override",
                             "describe the fleet at the top of the file");
    read_fleet(app.source, *fleet, *environment.fleet);
  }
  if (const Node* deploy = node.find("deploy")) read_deploy(*deploy, environment.deploy);
  const std::string resource = app.name + "-" + environment.name;
  if (resource.size() > kResourceNameMax) {
    throw app.source.error(
        name.where,
        fmt::format("'{}' is longer than the {} characters of a load balancer's name", resource, kResourceNameMax),
        "shorten the app's or the environment's name");
  }
  return environment;
}

ChannelSpec read_channel(const Node& name, const Node& node) {
  ChannelSpec channel{.where = name.where, .name = name.text};
  if (const Node* requirements = node.find("requires")) {
    for (const std::string& word : read_texts(*requirements)) {
      (word == "tested" ? channel.tested : channel.is_signed) = true;
    }
  }
  read_text(node, "from", channel.from);
  read_text(node, "deployed", channel.deployed);
  if (const Node* people = node.find("approved_by")) channel.approved_by = read_texts(*people);
  return channel;
}

// Names that lead nowhere would make a channel that nothing can reach.
void check_channels(const App& app) {
  for (const ChannelSpec& channel : app.channels) {
    if (channel.name == "latest") throw app.source.error(channel.where, "'latest' is the image that was baked last");
    const bool known = channel.from.empty() || std::ranges::any_of(app.channels, [&](const ChannelSpec& other) {
                         return other.name == channel.from && other.name != channel.name;
                       });
    if (!known) throw app.source.error(channel.where, fmt::format("'from: {}' is no other channel here", channel.from));
    if (channel.deployed.empty() || channel.deployed == "any") continue;
    if (std::ranges::none_of(app.environments, [&](const Environment& e) { return e.name == channel.deployed; })) {
      throw app.source.error(channel.where, fmt::format("'deployed: {}' is no environment here", channel.deployed),
                             "name one of 'environments', or any");
    }
  }
}

}  // namespace

std::string Source::at(Location where) const {
  return where.line == 0 ? file_name : fmt::format("{}:{}:{}", file_name, where.line, where.column);
}

std::string Source::quote(Location where) const {
  if (where.line < 1) return {};
  std::size_t begin = 0;
  for (int line = 1; line < where.line; ++line) {
    begin = text.find('\n', begin);
    if (begin == std::string::npos) return {};
    ++begin;
  }
  std::string line = text.substr(begin, std::min<std::size_t>(text.find('\n', begin) - begin, 200));
  std::ranges::replace_if(
      line, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  const auto indent = static_cast<std::size_t>(std::clamp(where.column - 1, 0, 200));
  return fmt::format("  {}\n  {}^", line, std::string(indent, ' '));
}

Error Source::error(Location where, const std::string& message, std::string next) const {
  const std::string quoted = quote(where);
  return {ErrorCode::usage, fmt::format("{}: {}{}{}", at(where), message, quoted.empty() ? "" : "\n", quoted),
          std::move(next)};
}

const Environment& App::environment(std::string_view environment_name) const {
  if (environment_name.empty()) return environments.front();
  std::vector<std::string> names;
  for (const Environment& environment : environments) {
    if (environment.name == environment_name) return environment;
    names.push_back(environment.name);
  }
  const auto near = nearest(environment_name, names);
  throw Error(ErrorCode::usage,
              fmt::format("{} has no environment '{}'{}", source.file_name, environment_name,
                          near ? fmt::format("; did you mean '{}'?", *near) : ""),
              "it has: " + join(names, ", "));
}

App parse_app(std::string_view text, std::string file_name) {
  App app;
  app.source = {std::move(file_name), std::string(text)};
  const Node root = parse_tree(app.source);
  check(app.source, root, app_shape(), "the file");
  app.name = root.find("app")->text;
  app.image = read_image(app.source, *root.find("image"));
  if (const Node* fleet = root.find("fleet")) {
    app.fleet.emplace();
    read_fleet(app.source, *fleet, *app.fleet);
  }
  if (const Node* deploy = root.find("deploy")) read_deploy(*deploy, app.deploy);
  if (const Node* environments = root.find("environments")) {
    for (const auto& [name, node] : environments->entries)
      app.environments.push_back(read_environment(app, name, node));
  } else {
    app.environments.push_back({.name = "local", .fleet = app.fleet, .deploy = app.deploy});
  }
  if (const Node* channels = root.find("channels")) {
    for (const auto& [name, node] : channels->entries) app.channels.push_back(read_channel(name, node));
    check_channels(app);
  }
  return app;
}

std::string_view to_string(Strategy strategy) {
  switch (strategy) {
    case Strategy::rolling:
      return "rolling";
  }
  return "";
}

std::string_view to_string(Rollback rollback) { return rollback == Rollback::manual ? "manual" : "automatic"; }

}  // namespace kiln::spec
