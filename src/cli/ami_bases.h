// AmiBases: an AMI as what an image stands on, without a call to AWS: the public images that a region on this machine
// offers, and AMIs there that hold an image of our store.
#pragma once

#include <functional>
#include <string_view>

#include "bake/bake.h"
#include "bake/base_images.h"
#include "cli/context.h"
#include "packer/template.h"
#include "store/store.h"

namespace kiln::cli {

class AmiBases : public bake::BaseImages {
 public:
  // All must outlive it. `others` serves the bases that are not AMIs. `say` is told what a public image's bake does,
  // which happens once.
  AmiBases(Context& context, store::Store& store, bake::BaseImages* others,
           std::function<void(const bake::Progress&)> say)
      : context_(context), store_(store), others_(others), say_(std::move(say)) {}

  // An AmiBase. The names of the public images are asked first, then the region that runs here. Error(usage) for any
  // other AMI, with the way round.
  std::vector<store::Blob> layers_of(const spec::App& app, const std::string& app_folder) override;

  // The AMI of the last `layers_of`: what a Packer template may say of it.
  const packer::SourceImage& found() const { return found_; }

 private:
  Digest digest_of(const spec::App& app, const spec::AmiBase& base);
  Digest asked(const spec::App& app, const spec::AmiBase& base);

  Context& context_;
  store::Store& store_;
  bake::BaseImages* others_;
  std::function<void(const bake::Progress&)> say_;
  packer::SourceImage found_;
};

}  // namespace kiln::cli
