// Publish: places an image of the store where machines can be launched from it.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/digest.h"
#include "host/clock.h"

namespace kiln::aws {
class Client;
}

namespace kiln::deploy {

struct PlacementRequest {
  std::string app;
  std::string version;
  Digest digest;
  std::string architecture = "amd64";  // as the store names it
  std::string description;
  std::map<std::string, std::string> tags;  // kiln:app, kiln:version and kiln:digest are added
  std::string name{};                       // of the AMI; when it is empty or taken: "<app>-<version>"
  std::vector<std::string> users{};         // accounts that may launch it
  std::vector<std::string> groups{};        // likewise; "all" is everybody
};

class Placements {
 public:
  virtual ~Placements() = default;
  // Returns the AMI that holds the digest. Asked again it returns the same one. Throws Error(already_exists) when app
  // and version are taken by another digest; Error(timeout) when the AMI does not become available.
  virtual std::string place(const PlacementRequest& request) = 0;
};

// In a region that reads the same store as this machine: RegisterImage of "kiln:<digest>".
class RegionPlacements final : public Placements {
 public:
  // Both must outlive it.
  RegionPlacements(aws::Client& client, host::Clock& clock) : client_(client), clock_(clock) {}
  std::string place(const PlacementRequest& request) override;
  // CopyImage of an AMI that `place` made in the region `from`, to the client's own. Asked again it returns the same
  // one. Throws as `place` does.
  std::string copy(const PlacementRequest& request, const std::string& ami, const std::string& from);

 private:
  std::string ensure(const PlacementRequest& request, const std::function<std::string(const std::string& name)>& make);
  void share(const PlacementRequest& request, const std::string& ami);

  aws::Client& client_;
  host::Clock& clock_;
};

}  // namespace kiln::deploy
