// Watch: the invariants of a fleet that is being replaced.
#include "watch.h"

#include <fmt/format.h>

#include <algorithm>

namespace kiln::simulation {
namespace {

// One broken thing breaks others; the first lines tell.
constexpr std::size_t kViolationsMax = 10;

}  // namespace

std::string version_of(const machine::Spec& spec) { return spec.image.config.history.at(0); }

std::vector<Watch::Target> Watch::targets() const {
  std::map<std::string, std::string> by_address;
  for (const std::string& id : machines_.ids()) by_address[machines_.spec(id).interface.address] = id;
  std::set<std::string> routed;
  for (const auto& listener : balancer_.state().listeners) {
    for (const auto& route : listener.routes) {
      if (route.weight > 0) routed.insert(route.group);
    }
  }
  std::vector<Target> out;
  for (const auto& group : balancer_.state().groups) {
    if (!routed.contains(group.key)) continue;
    for (const auto& server : group.servers) {
      auto machine = by_address.find(server.address);
      out.push_back({server.address, server.port, server.mode == region::elb::ServerMode::accepting,
                     machine == by_address.end() ? "" : machine->second,
                     machines_.http_status_at(server.address, server.port, kHealthPath) == 200});
    }
  }
  return out;
}

std::map<std::string, std::size_t> Watch::serving() const {
  std::map<std::string, std::size_t> out;
  for (const Target& target : targets()) {
    if (target.accepting && target.good) ++out[version_of(machines_.spec(target.id))];
  }
  return out;
}

void Watch::ending(const std::string& id) {
  check();
  asked_.insert(id);
  if (!serving_.contains(id) || least_ == 0) return;
  violated(fmt::format("{} ({}) is ended while it serves and requests go to it", id, version_of(machines_.spec(id))));
}

void Watch::seen(const fleet::Fleet& fleet) {
  if (most_ == 0 || !fleet.group) return;
  const auto staying = std::ranges::count_if(fleet.group->instances,
                                             [](const fleet::Instance& instance) { return !instance.leaving(); });
  if (static_cast<std::size_t>(staying) > most_) {
    violated(fmt::format("{} instances are in the group, and {} is the most", staying, most_));
  }
}

void Watch::check() {
  checked_ = balancer_.applied();
  const std::vector<Target> all = targets();
  std::set<std::string> serving;
  for (const Target& target : all) {
    if (target.accepting && target.good) serving.insert(target.id);
  }
  count_accidents(serving, all);
  for (const Target& target : all) check_route(target, !serving.empty());
  was_good_.insert(serving.begin(), serving.end());
  serving_ = serving;
  // What was lost is made up for; a while later, because what was decided just before may still be on its way.
  if (serving.size() >= least_ && loop_.now() - last_accident_ > 2 * detection_) excused_ = 0;
  if (serving.size() + excused_ >= least_) return;
  violated(fmt::format("{} targets serve, fewer than {} ({} lost by accident)", serving.size(), least_, excused_));
}

void Watch::count_accidents(const std::set<std::string>& good_and_accepting, const std::vector<Target>& now) {
  for (const std::string& id : serving_) {
    if (good_and_accepting.contains(id) || asked_.contains(id)) continue;
    const bool well = std::ranges::any_of(now, [&](const Target& target) { return target.id == id && target.good; });
    const bool gone = std::ranges::none_of(now, [&](const Target& target) { return target.id == id; });
    // Taken out of service on purpose, well as it is.
    if (well ||
        (gone && machines_.state(id) == machine::State::running && machines_.http_status(id, 80, kHealthPath) == 200)) {
      continue;
    }
    ++accidents_;
    ++excused_;
    last_accident_ = loop_.now();
  }
}

void Watch::check_route(const Target& target, bool others_serve) {
  const std::string& name = target.id.empty() ? target.address : target.id;
  if (!target.accepting || target.good) {
    bad_since_.erase(name);
    return;
  }
  const Time since = bad_since_.try_emplace(name, loop_.now()).first->second;
  // With nobody well, a load balancer tries everybody.
  if (!others_serve) {
    bad_since_[name] = loop_.now();
    return;
  }
  if (loop_.now() - since > detection_) {
    violated(fmt::format("requests still go to {}, which does not answer them, after {}", name,
                         format_duration(loop_.now() - since)));
  }
  if (!target.id.empty() && !was_good_.contains(target.id)) {
    violated(fmt::format("requests go to {}, which has never answered one well", name));
  }
}

void Watch::violated(const std::string& what) {
  if (violations_.size() < kViolationsMax) violations_.push_back(format_iso8601(loop_.now()) + " " + what);
}

}  // namespace kiln::simulation
