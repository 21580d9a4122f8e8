// Gc: which images may go, and for every one of them why it is kept or goes. Pure: the facts are looked at by others.
//
// Going has two steps. An image that nothing refers to is put aside: its AMIs are disabled, nobody deploys it, and it
// can be had back. When it has been aside for the grace, its AMIs and snapshots are deleted and its bytes leave the
// store.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "catalog/catalog.h"

namespace kiln::catalog {

// Something that needs an image: "the instance i-0a1b runs it".
struct Reference {
  Digest digest;
  std::string why;
};

struct GcFacts {
  View view;
  Time now{};
  std::vector<Reference> references;     // of instances, groups, templates, rollback targets, protected AMIs, leases
  std::vector<std::string> not_reached;  // places that could not be looked at: what may be there stays
};

struct GcRules {
  std::string app;                               // only its images; empty: all
  std::size_t keep = 3;                          // the newest of each app that can be deployed
  Duration older = std::chrono::hours(24 * 30);  // younger ones stay
  Duration grace = std::chrono::hours(24 * 7);   // how long one is aside before it goes
};

enum class Fate {
  keep,
  wait,       // it is aside, and its grace is not over
  put_aside,  // now
  remove,     // now
};
std::string_view to_string(Fate fate);

struct Verdict {
  Image image;
  Fate fate = Fate::keep;
  std::string why;
};

// Of every image that is not gone, in the order of the view. Versions of the same content share their fate. What is
// referenced, what a channel points at, and what a kept image is made of is never put aside or removed.
std::vector<Verdict> plan_gc(const GcFacts& facts, const GcRules& rules);

// Why the image must stay whatever the rules say: something refers to it, a channel points at it, or an image that is
// used was made from it; nullopt when nothing does.
std::optional<std::string> needed(const GcFacts& facts, const Image& image);

// Whether `child` was made from `parent`, by its base: "web@1.4.2" or a digest.
bool is_made_from(const Image& child, const Image& parent);

}  // namespace kiln::catalog
