// Script: one phase of a component as a bash script. Private to this room.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "spec/image_builder/document.h"

namespace kiln::spec::image_builder {

struct ScriptOptions {
  std::string working_folder = "/";
  const FileReader* read_file = nullptr;  // for ExecuteDocument
  std::vector<std::string> callers;       // files of the documents that run this one, outermost first
  // A file of the image in which the phase build leaves those of its outputs that other phases name. Empty: these may
  // name none.
  std::string outputs_file{};
  std::set<std::string> kept{};               // of the phase build: these outputs, by their names in scripts
  std::set<std::string>* of_build = nullptr;  // of the other phases: gets the outputs that they name
};

// `files` gets the scripts of nested documents; the script finds them in $KILN_FILES, else /run/kiln/files. Throws
// Error(usage) for actions that are not served.
std::string write_script(const Document& document, const Phase& phase, const ScriptOptions& options,
                         std::vector<StepFile>& files);

// The functions that scripts begin with.
std::string_view script_library();

}  // namespace kiln::spec::image_builder
