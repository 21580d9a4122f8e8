// BaseImages: what an image stands on when that is not a Debian release: an image of the catalog, an AMI, an archive,
// an OCI image. Whoever builds a bake supplies it; this room knows only the layers.
#pragma once

#include <string>
#include <vector>

#include "spec/app.h"
#include "store/image.h"

namespace kiln::bake {

class BaseImages {
 public:
  virtual ~BaseImages() = default;
  // The layers of `app.image.base`, lowest first, all of them in the store that the bake works with; they become the
  // lowest layers of the image. Anything but a DebianBase is asked for here, once a bake and before anything is made.
  // `app_folder` holds kiln.yaml. Throws Error: usage that quotes `app.image.where` for what is not there, not_found,
  // unavailable, unsupported (a kind that nobody serves).
  virtual std::vector<store::Blob> layers_of(const spec::App& app, const std::string& app_folder) = 0;
};

}  // namespace kiln::bake
