// RegistryWords: options to values, tallies to words.
#include "cli/registry_words.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/parser.h"
#include "console/screen.h"

namespace kiln::cli {

void RegistryWords::declare(Parser& parser) {
  parser.flag("--json", json);
  parser.flag("--plain-http", plain_http);
  parser.flag("--no-referrers", no_referrers);
  parser.option("--ca-file", ca_file);
  parser.option("--parallel", parallel).within(1, 32);
}

registry::Connect RegistryWords::connect() const {
  registry::Connect connect;
  connect.plain_http = plain_http;
  connect.ca_file = ca_file;
  connect.cancelled = [] { return Context::interrupted().load(); };
  return connect;
}

TransferLine::TransferLine(Context& context, const RegistryWords& words)
    : context_(context),
      words_(words),
      terminal_(!words.json && console::is_terminal(stderr)),
      began_(context.clock.uptime()) {}

TransferLine::~TransferLine() {
  if (terminal_ && shown_.count() > 0) fmt::print(stderr, "\r\x1b[2K");
}

registry::Options TransferLine::options() {
  registry::Options options;
  options.parallel = words_.parallel;
  options.referrers = !words_.no_referrers;
  if (terminal_) options.on_progress = [this](const registry::Tally& tally) { show(tally); };
  return options;
}

void TransferLine::show(const registry::Tally& tally) {
  constexpr Duration kEvery{100};
  const Duration now = context_.clock.uptime();
  if (now - shown_ < kEvery) return;
  shown_ = now;
  const double seconds = std::max(0.001, static_cast<double>((now - began_).count()) / 1000);
  fmt::print(stderr, "\r\x1b[2K  {} of {}  {}/s  {} of {} blobs", format_bytes(tally.bytes_moved + tally.bytes_there),
             format_bytes(tally.bytes_total),
             format_bytes(static_cast<std::uint64_t>(static_cast<double>(tally.bytes_moved) / seconds)),
             tally.blobs_moved + tally.blobs_there + tally.blobs_mounted, tally.blobs_total);
  std::fflush(stderr);
}

nlohmann::json to_json(const registry::Moved& moved) {
  nlohmann::json referrers = nlohmann::json::array();
  for (const Digest& referrer : moved.referrers) referrers.push_back({{"digest", referrer.str()}});
  const registry::Tally& tally = moved.tally;
  nlohmann::json object{{"digest", moved.digest.str()},     {"media_type", moved.media_type},
                        {"bytes_total", tally.bytes_total}, {"bytes_there", tally.bytes_there},
                        {"bytes_moved", tally.bytes_moved}, {"blobs_total", tally.blobs_total},
                        {"blobs_there", tally.blobs_there}, {"blobs_mounted", tally.blobs_mounted},
                        {"blobs_moved", tally.blobs_moved}, {"referrers", referrers}};
  if (!moved.artifact_type.empty()) object["artifact_type"] = moved.artifact_type;
  return object;
}

std::string summary(const registry::Moved& moved, std::string_view verb) {
  const registry::Tally& tally = moved.tally;
  std::string text = fmt::format("{} {}", format_bytes(tally.bytes_moved), verb);
  if (tally.bytes_there > 0) text += fmt::format(", {} were there", format_bytes(tally.bytes_there));
  if (tally.blobs_mounted > 0) text += fmt::format(", {} blobs of them from a neighbour", tally.blobs_mounted);
  if (!moved.referrers.empty()) text += fmt::format("; {} said about it", moved.referrers.size());
  return text;
}

}  // namespace kiln::cli
