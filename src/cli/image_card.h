// ImageCard: what the catalog knows of an image, as an artifact beside it: so that whoever pulls it knows its name.
//
// The manifest of an image says nothing of app and version: the same content has the same digest whatever it is called.
// A card is what a registry gave us, not proof of anything; that is what signatures are for.
#pragma once

#include <vector>

#include "catalog/catalog.h"
#include "store/store.h"

namespace kiln::cli {

inline constexpr const char* kCardType = "application/vnd.kiln.image.card.v1+json";

// Adds it to the store; the same card is the same artifact.
Digest add_card(store::Store& store, const catalog::Image& image);
// The cards of that image that the store holds. Those that cannot be read, or speak of another image, are left out.
std::vector<catalog::Image> cards_of(const store::Store& store, const Digest& image);

}  // namespace kiln::cli
