// kiln sign: signs an image and what is said about it.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "builder/ami_image.h"
#include "catalog/catalog.h"
#include "cli/command.h"
#include "cli/parser.h"
#include "cli/proofs.h"

namespace kiln::cli {

int run_sign(Context& context, const std::vector<std::string>& words) {
  Parser parser;
  std::string reference, key_file;
  bool json = false;
  parser.option("image", reference).required();
  parser.option("--key", key_file);
  parser.flag("--json", json);
  if (!parser.parse("sign", words)) return 0;
  const std::optional<proof::SigningKey> key = signing_key(context, key_file);
  if (!key)
    throw Error(ErrorCode::usage, "there is no key to sign with",
                "Make one with `kiln keys new`, or name a file: --key FILE or KILN_SIGNING_KEY=FILE.");
  const catalog::Image image = find_image(context, reference);
  store::Store store(context.store_folder());
  // What was altered is not signed.
  if (builder::find_ami(store, image.digest)) {
    builder::disk_of(store, image.digest);
  } else {
    store.verify(store.image(image.digest));
  }
  const bool fresh = sign(context, store, subject_of(image), *key);
  const std::string id = key->public_key().id().str();
  if (json) {
    say_json({{"image", image.name()}, {"digest", image.digest.str()}, {"key", id}, {"signed", fresh}});
  } else {
    say(fmt::format("{} {} by key {}", image.name(), fresh ? "signed" : "was signed before", id));
  }
  return 0;
}

}  // namespace kiln::cli
