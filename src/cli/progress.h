// Progress: what a person sees while an engine works: a picture on a terminal, lines elsewhere, nothing with --json.
#pragma once

#include <string>

#include "cli/context.h"
#include "console/changes.h"
#include "console/screen.h"
#include "deploy/engine.h"

namespace kiln::cli {

class Progress {
 public:
  // `load_file` is what `kiln load --status` writes; empty: no line of traffic.
  Progress(Context& context, bool quiet, std::string load_file);
  void show(const deploy::Moment& moment);
  void end() { screen_.keep(); }

 private:
  Context& context_;
  bool quiet_;
  bool terminal_;
  std::string load_file_;
  console::Style style_;
  console::Screen screen_;
  console::Changes changes_;
};

}  // namespace kiln::cli
