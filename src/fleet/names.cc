// Names: one base name an app and environment, cut to what the strictest service (ELBv2) takes.
#include "fleet/names.h"

#include <fmt/format.h>

#include "base/digest.h"

namespace kiln::fleet {
namespace {

// ELBv2: load balancers and target groups have names of at most 32 letters, digits and hyphens.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateLoadBalancer.html
constexpr std::size_t kNameMax = 32;
constexpr std::size_t kDigestDigits = 6;

std::string clean(std::string_view text) {
  std::string out;
  for (char c : text) {
    const bool takes = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    const char next = takes ? c : '-';
    if (next == '-' && (out.empty() || out.back() == '-')) continue;
    out.push_back(next);
  }
  while (!out.empty() && out.back() == '-') out.pop_back();
  return out;
}

bool is_plain(std::string_view environment) { return environment.empty() || environment == "local"; }

std::string base_name(std::string_view app, std::string_view environment) {
  const std::string given =
      is_plain(environment) ? fmt::format("kiln-{}", app) : fmt::format("kiln-{}-{}", app, environment);
  const std::string name = clean(given);
  if (name == given && name.size() <= kNameMax) return name;
  // Two long or odd names must not meet: the digest of what was given tells them apart.
  const std::string tail = sha256(given).hex().substr(0, kDigestDigits);
  return clean(name.substr(0, kNameMax - kDigestDigits - 1)) + "-" + tail;
}

}  // namespace

std::map<std::string, std::string> Names::tags() const {
  return {{std::string(kTagApp), app}, {std::string(kTagEnvironment), environment}};
}

std::string Names::title() const { return environment.empty() ? app : app + " → " + environment; }

Names names_of(std::string_view app, std::string_view environment) {
  const std::string base = base_name(app, environment);
  Names names;
  names.app = app;
  names.environment = environment;
  names.group = base;
  names.launch_template = base;
  names.target_group = base;
  names.load_balancer = base;
  names.instance_security_group = base;
  names.balancer_security_group = base + "-balancer";
  return names;
}

}  // namespace kiln::fleet
