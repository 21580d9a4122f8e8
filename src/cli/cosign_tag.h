// CosignTag: an image's signatures where cosign looks for them when nobody tells it otherwise: in the repository's tag
// "sha256-<hex>.sig". The same signatures travel as referrers too.
//
// https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md, "Tag-based Discovery".
#pragma once

#include <string>

#include "registry/client.h"
#include "registry/reference.h"
#include "store/store.h"

namespace kiln::cli {

std::string cosign_tag(const Digest& image);

// Adds the store's signatures of the image to the tag, after the image was pushed there. What others have put into it
// stays; nothing is written when all of them are there.
void write_cosign_tag(const store::Store& store, const Digest& image, registry::Client& client,
                      const registry::Reference& to);

}  // namespace kiln::cli
