// Orders: what a recipe's steps are for a builder instance.
//
// A step is a parcel and, for most, a script in it, /run/kiln/step. What cannot be done in an instance is an
// Error(usage) that quotes the step, before anything is launched.
#pragma once

#include <string>
#include <vector>

#include "builder/parcel.h"
#include "host/file.h"
#include "spec/app.h"

namespace kiln::builder {

struct Order {
  std::string text;  // "packages nginx"
  // Not of a step that runs on this machine: those are `host`.
  std::vector<ParcelEntry> parcel{};
  bool run = false;  // the parcel has /run/kiln/step
  const spec::HostStep* host = nullptr;
  const spec::Step* step = nullptr;  // none: what every bake begins and ends with
};

// In their order, with what is done before the first and, when the builder's own disk is the image, after the last.
// Reads the app's files of copy steps, the keys of its repositories and its kiln.lock. `app` must outlive them.
std::vector<Order> orders_of(const spec::App& app, const host::Path& folder, bool own_disk = true);

}  // namespace kiln::builder
