// Proofs: where the room `proof` meets the store, the ledger and the user's keys.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bake/bake.h"
#include "catalog/catalog.h"
#include "cli/context.h"
#include "proof/attach.h"
#include "proof/key.h"
#include "proof/provenance.h"
#include "proof/verify.h"
#include "spec/app.h"

namespace kiln::cli {

// A file that the user named: Error(usage) when it is not there.
std::string read_named_file(const host::Path& file);

// A key as the user names it, else $KILN_SIGNING_KEY, else keys/default.pem in the home; nullopt when there is none of
// them. One that is named and cannot be read is an error.
std::optional<proof::SigningKey> signing_key(const Context& context, const std::string& file);
// What checks signatures: `file`, else all keys/*.pub of the home.
std::vector<proof::PublicKey> trusted_keys(const Context& context, const std::string& file);
proof::PublicKey read_public_key(const host::Path& file);
host::Path keys_folder(const Context& context);

// The catalog's image; a reference without an app means that of the folder's kiln.yaml.
catalog::Image find_image(const Context& context, const std::string& reference);
proof::SbomSubject subject_of(const catalog::Image& image);
proof::SbomSubject subject_of(const std::string& app, const std::string& version, const Digest& digest);

// What is in an image; see contents_of.
proof::Inventory inventory_of(Context& context, const store::Store& store, const Digest& image);

// SBOMs of both kinds and the provenance, as artifacts of the image; those that are there for this version stay. An
// image that has all of them costs one look into the index. `tests`: those that it has passed.
void prove(Context& context, store::Store& store, const spec::App& app, const bake::BakeResult& result, Time started,
           std::vector<proof::BakeRecord::Test> tests);
// What every bake says of itself: name, recipe, builder, time.
proof::BakeRecord begin_record(const Context& context, const spec::App& app, const proof::SbomSubject& subject,
                               Time started);
// The same of an image whose inventory is known; the record's packages are filled in.
void prove(store::Store& store, const proof::SbomSubject& subject, const proof::Inventory& inventory,
           proof::BakeRecord record);
// SBOMs alone, for an image that has none.
void prove_contents(store::Store& store, const proof::SbomSubject& subject, const proof::Inventory& inventory);

// Signs the image and its documents and writes `image.signed`; false when this key had signed all of it.
bool sign(Context& context, store::Store& store, const proof::SbomSubject& subject, const proof::SigningKey& key);

// Prints what `kiln verify` found; 0 when all of it holds, else 6.
int report_checks(const std::string& image, const Digest& digest, const std::vector<proof::Check>& checks, bool json);

}  // namespace kiln::cli
