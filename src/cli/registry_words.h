// RegistryWords: what `push`, `pull` and `mirror` share: their options, the line that shows how far they are, the
// answer.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "cli/context.h"
#include "registry/transfer.h"

namespace kiln::cli {

class Parser;

struct RegistryWords {
  bool json = false;
  bool plain_http = false;
  bool no_referrers = false;
  std::string ca_file;
  std::size_t parallel = 4;

  void declare(Parser& parser);
  registry::Connect connect() const;
};

// One line on a terminal, drawn over and over; nothing elsewhere and with --json.
class TransferLine {
 public:
  TransferLine(Context& context, const RegistryWords& words);
  ~TransferLine();
  registry::Options options();

 private:
  void show(const registry::Tally& tally);
  Context& context_;
  const RegistryWords& words_;
  bool terminal_;
  Duration began_;
  Duration shown_{0};
};

// {"digest", "media_type", "bytes_total", …, "referrers": […]}
nlohmann::json to_json(const registry::Moved& moved);
// "12.0 MiB sent, 140 MiB were there; 2 referrers"
std::string summary(const registry::Moved& moved, std::string_view verb);

}  // namespace kiln::cli
