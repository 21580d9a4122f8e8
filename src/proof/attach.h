// Attach: documents and signatures beside an image in the store, and signing what is there.
//
// Each document is an artifact whose subject is the image's manifest. Signatures are stored as cosign does: a "simple
// signing" payload with its signature in an annotation, and DSSE envelopes of the documents as in-toto statements.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "proof/dsse.h"
#include "proof/sbom.h"
#include "store/store.h"

namespace kiln::proof {

inline constexpr std::string_view kSignatureType = "application/vnd.dev.cosign.artifact.sig.v1+json";
inline constexpr std::string_view kPayloadType = "application/vnd.dev.cosign.simplesigning.v1+json";
inline constexpr std::string_view kSignatureAnnotation = "dev.cosignproject.cosign/signature";
inline constexpr std::string_view kKeyAnnotation = "io.kiln.key";          // a key's id: a hint
inline constexpr std::string_view kVersionAnnotation = "io.kiln.version";  // one image may have several versions

// Stores `text` as an artifact of `artifact_type` about the image. The same again changes nothing.
Digest attach(store::Store& store, const SbomSubject& subject, std::string_view artifact_type, std::string_view text);

// The document of that type for that version; nullopt when there is none. Error(corrupt) for one that was altered.
std::optional<std::string> find_document(const store::Store& store, const SbomSubject& subject,
                                         std::string_view artifact_type);

// What is signed of the image itself.
std::string signing_payload(const SbomSubject& subject);

// Signs the image and each of its documents. Returns the artifact of the image's signature; nullopt when this key has
// signed all of it before, and nothing was written.
std::optional<Digest> sign_image(store::Store& store, const SbomSubject& subject, const SigningKey& key);

}  // namespace kiln::proof
