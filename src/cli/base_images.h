// BakedBaseImages: the public base images of a region on this machine, baked when they are first launched.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "bake/bake.h"
#include "host/clock.h"
#include "host/file.h"
#include "host/loop.h"
#include "region/ec2/base_images.h"
#include "store/store.h"

namespace kiln::cli {

// Debian 12 as Debian's cloud images are: cloud-init with EC2's data source, OpenSSH, sudo, Python. A bake like every
// other one: the same bytes everywhere, its layers in the cache.
class BakedBaseImages final : public region::ec2::BaseImages {
 public:
  // `home` is $KILN_HOME. All must outlive it.
  BakedBaseImages(host::Loop& loop, host::Clock& clock, store::Store& store, host::Path home,
                  std::function<void(const std::string& line)> say);
  std::vector<region::ec2::BaseImage> list() const override { return {region::ec2::debian_12()}; }
  void make(const std::string& name, Done done) override;

 private:
  Digest bake() const;  // blocks

  host::Loop& loop_;
  host::Clock& clock_;
  store::Store& store_;
  host::Path home_;
  std::function<void(const std::string&)> say_;
  std::map<std::string, std::vector<Done>> asked_;  // those that are being made → who waits
};

// Bakes Debian 12, or takes it from the cache; the manifest's digest. `home` is $KILN_HOME. Throws what `bake::bake`
// does.
Digest bake_debian_12(const host::Path& home, store::Store& store, host::Clock& clock,
                      std::function<void(const bake::Progress&)> on_progress);

}  // namespace kiln::cli
