// Model: how its small values are read and written.
#include "region/elb/model.h"

#include "base/text.h"

namespace kiln::region::elb {

namespace {

struct StatusRange {
  std::int64_t first = 0;
  std::int64_t last = 0;
};

// ALB: success codes are 200 to 499.
std::optional<StatusRange> parse_range(std::string_view text) {
  std::size_t dash = text.find('-');
  auto first = parse_int(text.substr(0, dash));
  auto last = dash == std::string_view::npos ? first : parse_int(text.substr(dash + 1));
  if (!first || !last || *first < 200 || *last > 499 || *first > *last) return std::nullopt;
  return StatusRange{*first, *last};
}

}  // namespace

std::optional<Matcher> Matcher::parse(const std::string& text) {
  if (text.empty() || text.size() > 256) return std::nullopt;
  for (const std::string& part : split(text, ',')) {
    if (!parse_range(part)) return std::nullopt;
  }
  return Matcher{text};
}

bool Matcher::matches(int status) const {
  for (const std::string& part : split(text, ',')) {
    auto range = parse_range(part);
    if (range && status >= range->first && status <= range->last) return true;
  }
  return false;
}

std::string to_string(TargetState state) {
  switch (state) {
    case TargetState::initial:
      return "initial";
    case TargetState::healthy:
      return "healthy";
    case TargetState::unhealthy:
      return "unhealthy";
    case TargetState::unused:
      return "unused";
    case TargetState::draining:
      return "draining";
    case TargetState::unavailable:
      return "unavailable";
  }
  return "unavailable";
}

}  // namespace kiln::region::elb
