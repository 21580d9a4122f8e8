// PackerBake: `kiln bake web.pkr.hcl`, and `image: {packer: web.pkr.hcl}` in kiln.yaml.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/context.h"
#include "packer/template.h"
#include "spec/app.h"

namespace kiln::cli {

// Words as Packer writes them, "-var", "-var-file", "-only", "-except", with the two dashes that other options have.
std::vector<std::string> with_two_dashes(std::vector<std::string> words);

// What a template, read, adds to an app.
struct PackerBake {
  packer::Template read;   // its one build is the image
  std::string uuid;        // of this run
  bool container = false;  // the builder is `docker`, and kiln.yaml does not make a machine of it
  const packer::Build& build() const { return read.builds.front(); }
};

// An app without kiln.yaml: named after the template's source, its version the time. Throws Error(usage); also when
// more than one build is left, because a bake makes one image.
PackerBake app_of_template(Context& context, const packer::Request& request, spec::App& app);
// When kiln.yaml names a template: its base and steps go into the app, and errors quote the template from then on.
std::optional<PackerBake> read_packer_source(Context& context, spec::App& app);

// Talks about what the template wants and this bake does not do; Error(usage) for what it must not pass over.
void tell_notes(const PackerBake& bake, bool in_instance);
// Packer's tags for the AMI, beside Kiln's own, and what else it says of the AMI (cli/ami_words.h).
std::map<std::string, std::string> tags_of(const PackerBake& bake, const packer::SourceImage& source);
// After the image is made: writes manifests. `artifact` says what was made, as Packer names it; asked only when needed.
void run_post_processors(Context& context, const PackerBake& bake, const std::function<std::string()>& artifact);

}  // namespace kiln::cli
