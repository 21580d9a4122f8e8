// kiln keys: a key to sign with.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/command.h"
#include "cli/parser.h"
#include "cli/proofs.h"

namespace kiln::cli {
namespace {

void check_name(const std::string& name) {
  const bool plain =
      !name.empty() && name.size() <= 64 && name[0] != '.' && name[0] != '-' &&
      name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == std::string::npos;
  if (!plain)
    throw Error(ErrorCode::usage, fmt::format("'{}' is no name for a key", name),
                "Use letters, digits, '.', '_' and '-'.");
}

int make(Context& context, const std::string& name, const std::string& type) {
  check_name(name);
  if (type != "ed25519" && type != "ecdsa")
    throw Error(ErrorCode::usage, fmt::format("there are no keys of type '{}'", type),
                "Give --type ecdsa (P-256) or --type ed25519.");
  const host::Path file = keys_folder(context) / (name + ".pem"), pub = keys_folder(context) / (name + ".pub");
  for (const host::Path& path : {file, pub}) {
    if (std::filesystem::exists(path))
      throw Error(ErrorCode::already_exists, fmt::format("{} is there already", path.string()),
                  "A key is never replaced: give another name, or move the file away yourself.");
  }
  const auto key = proof::SigningKey::generate(type == "ecdsa" ? proof::KeyKind::ecdsa_p256 : proof::KeyKind::ed25519);
  host::make_folders(keys_folder(context), 0700);
  host::write_file(file, key.pem(), 0600);
  host::write_file(pub, key.public_key().pem());
  talk(fmt::format("made {} (signs, keep it) and {} (checks, give it away)", file.string(), pub.string()));
  say(key.public_key().id().str());
  return 0;
}

int show(Context& context, const std::string& name, bool json) {
  host::Path file = name;
  if (!std::filesystem::exists(file)) file = keys_folder(context) / (name + ".pub");
  const proof::PublicKey key = read_public_key(file);
  if (json) {
    say_json({{"id", key.id().str()}, {"type", proof::to_string(key.kind())}, {"public_key", key.pem()}});
  } else {
    talk(fmt::format("{} {}", proof::to_string(key.kind()), key.id().str()));
    say(key.pem().substr(0, key.pem().size() - 1));
  }
  return 0;
}

}  // namespace

int run_keys(Context& context, const std::vector<std::string>& words) {
  Parser parser;
  std::string verb, name = "default", type = "ecdsa";
  bool json = false;
  parser.option("verb", verb);
  parser.option("name", name);
  parser.option("--type", type);
  parser.flag("--json", json);
  if (!parser.parse("keys", words)) return 0;
  if (verb == "new") return make(context, name, type);
  if (verb == "show") return show(context, name, json);
  throw Error(ErrorCode::usage, verb.empty() ? "say what to do" : fmt::format("there is no `kiln keys {}`", verb),
              "Use `kiln keys new` or `kiln keys show`.");
}

}  // namespace kiln::cli
