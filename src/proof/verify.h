// Verify: whether an image is what it says it is: its bytes, who signed it, how it was made, and what a policy asks.
//
// Reads the store and nothing else; all that is wrong is found, not only the first.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "proof/key.h"
#include "proof/sbom.h"
#include "spec/policy.h"
#include "store/store.h"

namespace kiln::proof {

// What the ledger knows of the image.
struct Expected {
  SbomSubject subject;
  std::string commit;                // empty: the image was baked outside a repository
  std::vector<Digest> signed_by;     // ids of the keys that are known to have signed it
  std::optional<bool> tests_passed;  // nullopt: it was not tested
};

struct Trust {
  std::vector<PublicKey> keys;           // each of them may have signed
  const spec::Policy* policy = nullptr;  // may be missing
  std::vector<PublicKey> required;       // the policy's `signed_by`: each of them must have signed
};

struct Check {
  std::string name;  // "content", "signature", "provenance", "sbom", "policy.base", ..
  bool passed = false;
  std::string said;  // a sentence
};

// In the order of the list above; `content` is always there. `now` is what the policy's age is measured from.
std::vector<Check> verify(const store::Store& store, const Expected& expected, const Trust& trust, Time now);

// The ids of those of `keys` that have signed the image, and nothing else: layers are not read. A signature is over the
// image's digest, so whoever checks the bytes against that digest has all of it.
std::vector<Digest> signers(const store::Store& store, const SbomSubject& subject, const std::vector<PublicKey>& keys);

}  // namespace kiln::proof
