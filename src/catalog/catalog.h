// Catalog: which image is "web 1.4.2", and where is it placed? A view of the ledger, rebuilt by reading it.
//
// Entries of the kinds `image.*`, each with the app as its subject, make it; kinds that it does not know are passed
// over. A version is bound to the first digest that was baked for it and never moves, not even when its image was
// removed. Channels ("staging") are names that move from version to version. It keeps no state of its own: every call
// reads the ledger, once.
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
inline constexpr std::string_view kImageImported = "image.imported";  // as image.baked, of one that was made elsewhere
inline constexpr std::string_view kImagePushed = "image.pushed";
inline constexpr std::string_view kImageTested = "image.tested";
inline constexpr std::string_view kImageSigned = "image.signed";
inline constexpr std::string_view kImagePromoted = "image.promoted";
inline constexpr std::string_view kImageApproved = "image.approved";
inline constexpr std::string_view kImageDeprecated = "image.deprecated";
inline constexpr std::string_view kImageDisabled = "image.disabled";
inline constexpr std::string_view kImageRevoked = "image.revoked";
inline constexpr std::string_view kImageRestored = "image.restored";
inline constexpr std::string_view kImageRemoved = "image.removed";  // {"step": "aside", then "gone"}

// One AMI that holds an image.
struct Placement {
  std::string account;
  std::string region;
  std::string ami;
  Time placed{};
  bool operator==(const Placement&) const = default;
};

// A registry's copy of an image. Kiln sends it there and never deletes it: others may depend on it.
struct Copy {
  std::string reference;  // "registry.example.com/team/web:1.4.2"
  std::string by;
  Time pushed{};
  bool operator==(const Copy&) const = default;
};

// What may be done with an image. From `disabled` on it is not deployed any more.
enum class Standing {
  usable,
  deprecated,  // AWS hides it from other accounts and warns; it can be deployed
  disabled,
  revoked,  // disabled, and must not run where it does
  aside,    // `kiln gc` has put it aside: it goes for good when its grace is over, and can be had back until then
  gone,     // its bytes are deleted; the version stays taken
};
std::string_view to_string(Standing standing);

// Who did it, when and why.
struct Act {
  std::string by;
  Time when{};
  std::string why;
  bool operator==(const Act&) const = default;
};

struct TestRun {
  bool passed = false;
  Time when{};
  std::vector<std::string> failed;  // the names of the checks that did not pass
  std::size_t checks = 0;
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

  // Filled when read.
  Standing standing = Standing::usable;
  Act stood;                            // the act that brought its standing
  std::vector<TestRun> tests;           // oldest first
  std::vector<Copy> copies;             // in registries, oldest first
  std::vector<std::string> signed_by;   // ids of keys
  std::map<std::string, Act> approved;  // by channel and person: "production ana@forge"
  std::vector<std::string> channels;    // that point at it now, sorted
  std::string imported_from;            // the AMI or the registry's reference, when it was not baked here

  bool deployable() const { return standing == Standing::usable || standing == Standing::deprecated; }
  std::string name() const { return app + "@" + version; }
  // The newest placement there, or nullptr.
  const Placement* placed_in(std::string_view account, std::string_view region) const;
};

// One step of a channel.
struct Promotion {
  std::string app;
  std::string channel;
  std::string version;
  Digest digest;
  std::string from;     // the version that the channel pointed at before; empty: none
  bool forced = false;  // against its rules
  Act act;
};

// All of it, in one reading.
struct View {
  std::vector<Image> images;          // newest first, those that are gone too
  std::vector<Promotion> promotions;  // oldest first
  // The version that a channel points at; nullptr when it points at none.
  const Promotion* channel(std::string_view app, std::string_view name) const;
  // That of the same digest which was baked last; nullptr when there is none.
  const Image* image_of(const Digest& digest) const;
  const Image* image(std::string_view app, std::string_view version) const;
};

class Catalog {
 public:
  // `ledger` must outlive it.
  explicit Catalog(ledger::Ledger& ledger) : ledger_(ledger) {}

  // Writes image.baked. The same version with the same digest again writes nothing. Throws Error(already_exists) naming
  // both digests when the version belongs to another; Error(conflict) when gc has put the image aside.
  Image record_baked(const Image& image);
  // Writes image.placed, unless that AMI is known to hold it there. Throws Error(not_found) for an image that was not
  // baked, Error(already_exists) when the AMI is known to hold another digest.
  void record_placed(const Image& image, const Placement& placement);

  // Writes image.imported. As record_baked, but for an image that was baked elsewhere or whose ledger was lost.
  Image record_imported(const Image& image, const std::string& ami);
  // Likewise, of one that came from a registry.
  Image record_pulled(const Image& image, const std::string& reference);
  // Writes image.signed, unless the catalog knows that this key signed it: somebody else's signature that was checked.
  void record_signed(const Image& image, const Digest& key);
  // Writes image.pushed, unless that copy is known. A reference that named another image before does so no more.
  void record_pushed(const Image& image, const std::string& reference);
  // Moves a channel. Whether it may move is not asked here (rules.h). Pointing at the image already writes nothing.
  Promotion record_promoted(const Image& image, const std::string& channel, const std::string& why, bool forced);
  void record_approved(const Image& image, const std::string& channel, const std::string& why);
  // Every image of the digest stands so from now on: versions are names, what is wrong is wrong in the content. Writes
  // nothing for those that stand so already for that reason. Throws Error(conflict) for one that is gone.
  void record_standing(const Image& image, Standing standing, const std::string& why);

  View view(std::string_view app = {}) const;
  // All images, or those of `app`, without those that are gone; newest first.
  std::vector<Image> images(std::string_view app = {}) const;

  // "web@1.4.2", "web@staging" (a channel), "web@latest" (the one baked last), "web@sha256:<at least 6 hex digits>";
  // "1.4.2", "staging", "latest" and "sha256:.." stand for an image of `default_app`. Throws Error(not_found) that
  // names the nearest version or channel, and says so of an image that is gone; Error(usage) for a reference that
  // cannot be read or that several images match.
  Image find(std::string_view reference, std::string_view default_app = {}) const;
  std::optional<Image> find_version(std::string_view app, std::string_view version) const;

 private:
  // `from`: what an image.imported says of its origin, key and value.
  Image record(std::string_view kind, const Image& image, const std::pair<std::string, std::string>& from);

  ledger::Ledger& ledger_;
};

}  // namespace kiln::catalog
