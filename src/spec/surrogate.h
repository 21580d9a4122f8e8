// Surrogate: an image that is not its builder's own disk but another volume of it, which the steps fill. Only an
// instance has such volumes: it is baked in one. Packer's amazon-ebssurrogate.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace kiln::spec {

// A block device mapping, as EC2 has it; what is not said is EC2's own default.
struct Volume {
  std::string device;  // "/dev/xvdf"
  std::string type{};  // "gp3"
  std::optional<std::int64_t> size_gib{};
  std::optional<std::int64_t> iops{};
  std::optional<std::int64_t> throughput{};
  std::string snapshot{};
  std::optional<bool> encrypted{};
  std::string kms_key{};
  std::optional<bool> delete_on_termination{};
  bool operator==(const Volume&) const = default;
};

struct Surrogate {
  std::vector<Volume> launched{};    // volumes of the builder, besides its root
  std::vector<std::string> apart{};  // devices of those that the image does not have
  std::string source{};              // the device of the one that becomes the image's root
  Volume root{};                     // what the image says of it; its snapshot is the source's
  std::vector<Volume> more{};        // that instances of the image have besides
  std::string architecture = "x86_64";
};

}  // namespace kiln::spec
