// Placements: how an AMI's location leads to the bytes of an image.
//
// In the region a location is "kiln:sha256:<manifest digest>", an image of the store that the region reads. AMIs that
// are made of snapshots, block by block, will be another placement behind the same interface.
#pragma once

#include <string>

#include "store/store.h"

namespace kiln::region::ec2 {

class ImagePlacements {
 public:
  virtual ~ImagePlacements() = default;
  // The image at a location, with every byte verified; from any thread. Throws ApiError InvalidParameterValue for a
  // location that is none, or an image that is not there or was altered.
  virtual store::Image resolve(const std::string& location) const = 0;
  // The same by digest, not verified again.
  virtual store::Image image(const Digest& digest) const = 0;
};

class StorePlacements final : public ImagePlacements {
 public:
  // `store` must outlive it.
  explicit StorePlacements(const store::Store& store) : store_(store) {}
  store::Image resolve(const std::string& location) const override;
  store::Image image(const Digest& digest) const override;

 private:
  const store::Store& store_;
};

}  // namespace kiln::region::ec2
