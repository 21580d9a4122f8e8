// Catalog: which image is "web 1.4.2", and where is it placed? A view of the ledger, rebuilt by reading it.
//
// Two kinds of entries make it: `image.baked` and `image.placed`, each with the app as its subject. A version is bound
// to the first digest that was baked for it and never moves. It keeps no state of its own: every call reads the ledger.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/time.h"
#include "ledger/ledger.h"

namespace kiln::catalog {

inline constexpr std::string_view kImageBaked = "image.baked";
inline constexpr std::string_view kImagePlaced = "image.placed";

// One AMI that holds an image.
struct Placement {
  std::string account;
  std::string region;
  std::string ami;
  Time placed{};
  bool operator==(const Placement&) const = default;
};

struct Image {
  std::string app;
  std::string version;
  Digest digest;  // of the manifest in the store
  Time built{};
  std::string commit;  // git's, empty when there is none
  Digest recipe;       // of the recipe and its inputs
  std::string base;    // "debian:bookworm"
  std::string kiln;    // the version of Kiln that baked it
  std::uint64_t size_bytes = 0;
  std::map<std::string, std::string> metadata;  // anything else that the baker knew
  std::vector<Placement> placements;            // oldest first; filled when read
  std::int64_t sequence = 0;                    // of its image.baked entry; filled when read

  std::string name() const { return app + "@" + version; }
  // The newest placement there, or nullptr.
  const Placement* placed_in(std::string_view account, std::string_view region) const;
};

class Catalog {
 public:
  // `ledger` must outlive it.
  explicit Catalog(ledger::Ledger& ledger) : ledger_(ledger) {}

  // Writes image.baked. The same version with the same digest again writes nothing. Throws Error(already_exists) naming
  // both digests when the version belongs to another.
  Image record_baked(const Image& image);
  // Writes image.placed, unless that AMI is known to hold it there. Throws Error(not_found) for an image that was not
  // baked, Error(already_exists) when the AMI is known to hold another digest.
  void record_placed(const Image& image, const Placement& placement);

  // All images, or those of `app`; newest first.
  std::vector<Image> images(std::string_view app = {}) const;

  // "web@1.4.2", "web@latest" (the one baked last), "web@sha256:<at least 6 hex digits>"; "1.4.2", "latest" and
  // "sha256:.." stand for an image of `default_app`. Throws Error(not_found) that names the nearest version,
  // Error(usage) for a reference that cannot be read or that several images match.
  Image find(std::string_view reference, std::string_view default_app = {}) const;
  std::optional<Image> find_version(std::string_view app, std::string_view version) const;

 private:
  ledger::Ledger& ledger_;
};

}  // namespace kiln::catalog
