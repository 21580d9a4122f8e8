// BaseImages: public images that a region lists as EC2 lists Debian's, and that are made when they are first launched.
#pragma once

#include <exception>
#include <functional>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/time.h"
#include "host/loop.h"
#include "store/store.h"

namespace kiln::region::ec2 {

struct BaseImage {
  std::string name;          // "debian-12-amd64-20251103-2285"
  std::string description;   // "Debian 12 (20251103-2285)"
  std::string architecture;  // "x86_64"
  std::string owner;         // the account that publishes it
  std::string root_device;   // "/dev/xvda"
  std::string parameter;     // of Systems Manager: "/aws/service/debian/release/12/latest/amd64"
  Time created{};
};

// What is listed for Debian 12, as https://wiki.debian.org/Cloud/AmazonEC2Image/Bookworm names it.
BaseImage debian_12();

class BaseImages {
 public:
  virtual ~BaseImages() = default;
  virtual std::vector<BaseImage> list() const = 0;
  // `done` gets the manifest's digest of an image of the store, or what failed; on the loop's thread, later. Called on
  // that thread; one that was made before is not made again.
  using Done = std::function<void(const std::exception_ptr& failure, const Digest& digest)>;
  virtual void make(const std::string& name, Done done) = 0;
};

// For machines that have no inside: Debian 12 as an image without content.
class EmptyBaseImages final : public BaseImages {
 public:
  // Both must outlive it.
  EmptyBaseImages(host::Loop& loop, store::Store& store) : loop_(loop), store_(store) {}
  std::vector<BaseImage> list() const override { return {debian_12()}; }
  void make(const std::string& name, Done done) override;

 private:
  host::Loop& loop_;
  store::Store& store_;
};

}  // namespace kiln::region::ec2
