// ForeignImages: what `image:` of kiln.yaml may stand on that others made: root archives, OCI images, Dockerfiles, and
// EC2 Image Builder's documents.
#pragma once

#include <functional>
#include <optional>
#include <string_view>

#include "bake/base_images.h"
#include "cli/context.h"
#include "store/store.h"

namespace kiln::cli {

class ForeignImages : public bake::BaseImages {
 public:
  // All must outlive it. `dockerfile` is what read_foreign_source found; `others` serves the bases that are not here;
  // `on_output` sees what buildah prints; once `cancelled` is true, Error(cancelled) climbs.
  ForeignImages(const Context& context, store::Store& store, std::optional<spec::DockerfileSource> dockerfile,
                bake::BaseImages* others, std::function<void(std::string_view)> on_output,
                std::function<bool()> cancelled = {});

  // An ArchiveBase, an OciBase, or a Dockerfile. What was imported before is found again by its content, in
  // $KILN_HOME/cache/imports.
  std::vector<store::Blob> layers_of(const spec::App& app, const std::string& app_folder) override;

  // The OCI config of the image that `layers_of` was asked for last, as JSON; empty for an archive.
  const std::string& config() const { return config_; }

  // Builds the Dockerfile of `image.dockerfile` and keeps the image of a container in the store, named `name`.
  // Throws Error(usage) when kiln.yaml has none.
  Digest keep_container(const spec::App& app, const host::Path& app_folder, const std::string& name);

 private:
  std::vector<store::Blob> import(const spec::App& app, const host::Path& folder);

  const Context& context_;
  store::Store& store_;
  std::optional<spec::DockerfileSource> dockerfile_;
  bake::BaseImages* others_;
  std::function<void(std::string_view)> on_output_;
  std::string config_;
  std::function<bool()> cancelled_;
};

// Reads the documents that `image.image_builder` names, and puts base and steps into the app in its place; takes
// `image.dockerfile` out of it and returns it. To be called before a bake; does nothing for other recipes. Throws
// Error(usage) quoting the file at fault.
std::optional<spec::DockerfileSource> read_foreign_source(spec::App& app, const host::Path& app_folder);

}  // namespace kiln::cli
