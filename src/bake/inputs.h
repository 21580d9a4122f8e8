// Inputs: the files that a copy step takes from the app's folder, in an order and with attributes that depend on
// nothing but them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/digest.h"
#include "host/file.h"
#include "spec/app.h"

namespace kiln::bake {

struct InputEntry {
  enum class Kind { file, folder, link };
  Kind kind = Kind::file;
  std::string name;                   // relative to the copied thing; empty: the thing itself
  bool executable = false;            // of a file, the owner's x bit: all of a mode that git keeps
  Digest content;                     // of a file
  std::string target;                 // of a link
  host::Path source;                  // where it is now; not part of any key
  std::optional<std::string> text{};  // of a template: its content, with the variables' values
};

// Sorted by name, parents first. What can leave the app's folder is an Error(usage) that quotes the step: a `from`
// outside it, a link that points out of what is copied. Sockets, devices and pipes are refused too. What .kilnignore in
// the app's folder and the step's `ignore` name is left out.
std::vector<InputEntry> read_inputs(const spec::App& app, const spec::Step& step, const spec::CopyStep& copy,
                                    const host::Path& app_folder);

// Where in the image the entry goes: the meaning of a '/' at the end of `from` and `to`.
std::string target_of(const spec::CopyStep& copy, const std::vector<InputEntry>& inputs, const InputEntry& entry);

}  // namespace kiln::bake
