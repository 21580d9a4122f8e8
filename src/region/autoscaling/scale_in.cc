// Scale-in: which instances go.
#include "region/autoscaling/scale_in.h"

#include <algorithm>
#include <map>

namespace kiln::region::autoscaling {
namespace {

// <0 when `a` goes before `b`, by one policy.
int compare(const std::string& policy, const Candidate& a, const Candidate& b) {
  if (policy == "Default" || policy == "OldestLaunchTemplate") {
    // AWS: an instance of another launch template than the current one counts as older; among versions of one, the
    // lower number does.
    if (a.template_id == b.template_id && a.template_version != b.template_version) {
      return a.template_version < b.template_version ? -1 : 1;
    }
    return 0;
  }
  if (a.created == b.created) return 0;
  bool older_first = policy == "OldestInstance";
  return (a.created < b.created) == older_first ? -1 : 1;
}

}  // namespace

bool is_termination_policy(const std::string& name) {
  return name == "Default" || name == "OldestLaunchTemplate" || name == "OldestInstance" || name == "NewestInstance";
}

std::vector<std::size_t> choose_victims(const std::vector<Candidate>& candidates, std::size_t count,
                                        const std::vector<std::string>& policies) {
  auto goes_first = [&](const Candidate* a, const Candidate* b) {
    if (a->replaced != b->replaced) return a->replaced;
    for (const std::string& policy : policies) {
      if (int order = compare(policy, *a, *b); order != 0) return order < 0;
    }
    if (int order = compare("Default", *a, *b); order != 0) return order < 0;
    if (a->created != b->created) return a->created < b->created;
    return a->index < b->index;
  };

  std::map<std::string, int> in_zone;
  std::vector<const Candidate*> idle;
  std::map<std::string, std::vector<const Candidate*>> serving;  // last goes first
  for (const Candidate& candidate : candidates) {
    ++in_zone[candidate.zone];
    if (candidate.protected_) continue;
    if (candidate.ready) {
      serving[candidate.zone].push_back(&candidate);
    } else {
      idle.push_back(&candidate);
    }
  }
  // Of those that do not serve yet, the youngest lose least.
  std::sort(idle.begin(), idle.end(), [&](const Candidate* a, const Candidate* b) {
    if (a->replaced != b->replaced) return a->replaced;
    if (a->created != b->created) return a->created > b->created;
    return a->index > b->index;
  });
  for (auto& [zone, list] : serving) {
    std::sort(list.begin(), list.end(), [&](const Candidate* a, const Candidate* b) { return goes_first(b, a); });
  }

  std::vector<std::size_t> victims;
  for (const Candidate* candidate : idle) {
    if (victims.size() == count) return victims;
    victims.push_back(candidate->index);
    --in_zone[candidate->zone];
  }
  while (victims.size() < count) {
    std::vector<const Candidate*>* fullest = nullptr;
    int most = -1;
    for (auto& [zone, list] : serving) {
      if (list.empty() || in_zone[zone] < most) continue;
      if (in_zone[zone] > most || goes_first(list.back(), fullest->back())) {
        fullest = &list;
        most = in_zone[zone];
      }
    }
    if (fullest == nullptr) break;
    --in_zone[fullest->back()->zone];
    victims.push_back(fullest->back()->index);
    fullest->pop_back();
  }
  return victims;
}

}  // namespace kiln::region::autoscaling
