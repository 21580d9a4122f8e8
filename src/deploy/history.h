// History: the deployments of a fleet, as the ledger tells them.
//
// Kinds: `deployment.started`, `.intent`, `.outcome`, `.going_back`, `.holding`, `.left`, `.finished`. The subject of
// each is the deployment's id; `started` and `finished` carry app and environment.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/time.h"
#include "deploy/wanted.h"
#include "ledger/ledger.h"

namespace kiln::deploy {

inline constexpr std::string_view kStarted = "deployment.started";
inline constexpr std::string_view kIntent = "deployment.intent";
inline constexpr std::string_view kOutcome = "deployment.outcome";
inline constexpr std::string_view kGoingBack = "deployment.going_back";
inline constexpr std::string_view kHolding = "deployment.holding";
inline constexpr std::string_view kLeft = "deployment.left";
inline constexpr std::string_view kFinished = "deployment.finished";
// Subject: the app. What was deployed before it is gone, and its template versions with it.
inline constexpr std::string_view kDestroyed = "fleet.destroyed";

struct Deployment {
  std::string id;
  std::string app;
  std::string environment;
  std::string verb;           // "deploy" or "rollback"
  std::int64_t sequence = 0;  // of its first entry
  bool destroyed = false;     // the fleet that it made was ended since
  std::string version;
  Digest digest;
  std::string ami;
  std::string instance_type;
  std::optional<std::int64_t> pinned_version;  // of the template, when it went back
  std::string from_version;
  std::int64_t from_template_version = 0;
  std::int64_t template_version = 0;  // 0 until it finished
  Digest fingerprint;
  std::string actor;
  Time started{};
  std::optional<Time> ended;
  std::optional<Outcome> outcome;  // nullopt: unfinished
  std::string why;
};

// "deploy 1.1.0 of web in staging was begun by ana@forge at 2026-01-02T03:04:05Z and is not finished (d-0a1b)", and
// what whoever finds it can do.
std::string unfinished_words(const Deployment& deployment);
std::string unfinished_next(const Deployment& deployment);

class History {
 public:
  // `ledger` must outlive it.
  explicit History(ledger::Ledger& ledger) : ledger_(ledger) {}

  // Oldest first.
  std::vector<Deployment> list(std::string_view app, std::string_view environment) const;
  std::optional<Deployment> unfinished(std::string_view app, std::string_view environment) const;
  // Of every app and environment, oldest first; without those whose fleet was destroyed since: they hold nothing.
  std::vector<Deployment> all_unfinished() const;
  // Whether a deployment that ended with `done` brought that version of the launch template, in the fleet as it is now.
  bool has_served(std::string_view app, std::string_view environment, std::int64_t template_version) const;
  // What the version that serves now has replaced, when it first came; not what was gone back from since.
  std::optional<Deployment> before(std::string_view app, std::string_view environment,
                                   std::int64_t serving_template_version) const;
  std::vector<ledger::Entry> entries(const std::string& deployment) const;

 private:
  // Those of which `wanted` is true, by their app and environment.
  using Wanted = std::function<bool(const std::string& app, const std::string& environment)>;
  std::vector<Deployment> read(const Wanted& wanted) const;

  ledger::Ledger& ledger_;
};

}  // namespace kiln::deploy
