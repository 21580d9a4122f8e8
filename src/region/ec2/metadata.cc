// Metadata: what of an instance its metadata service may say, and how it must be asked.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "region/api_error.h"
#include "region/ec2/state.h"

namespace kiln::region::ec2 {
namespace {

// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceMetadataOptionsRequest.html
constexpr int kHopsMax = 64;

// "on" of two words; nullopt when nothing is said.
std::optional<bool> is(const std::optional<std::string>& value, const char* parameter, std::string_view on,
                       std::string_view off) {
  if (!value) return std::nullopt;
  if (*value == on) return true;
  if (*value == off) return false;
  throw ApiError("InvalidParameterValue", fmt::format("Value ({}) for parameter {} is invalid. It is one of {}, {}.",
                                                      value->substr(0, 200), parameter, on, off));
}

}  // namespace

void check_metadata_tags(const Tags& tags) {
  // A key becomes a part of a path.
  for (const auto& [key, value] : tags) {
    const bool good = std::all_of(key.begin(), key.end(), [](unsigned char c) {
      return std::isalnum(c) != 0 || std::string_view("-_+=,.@:").find(static_cast<char>(c)) != std::string_view::npos;
    });
    if (good && key != "." && key != ".." && key != "_index") continue;
    throw ApiError(
        "InvalidParameterValue",
        fmt::format("'{}' is not a valid tag key. Tag keys must match pattern "
                    "([0-9a-zA-Z\\-_+=,.@:]{{1,255}}), and must not be a reserved name ('.', '..', '_index')",
                    key));
  }
}

void apply_metadata(MetadataOptions& options, const MetadataWish& wish, const Tags& tags) {
  MetadataOptions next = options;
  next.tokens_required = is(wish.tokens, "HttpTokens", "required", "optional").value_or(next.tokens_required);
  next.enabled = is(wish.endpoint, "HttpEndpoint", "enabled", "disabled").value_or(next.enabled);
  next.tags = is(wish.tags, "InstanceMetadataTags", "enabled", "disabled").value_or(next.tags);
  next.hop_limit = wish.hop_limit.value_or(next.hop_limit);
  if (next.hop_limit < 1 || next.hop_limit > kHopsMax) {
    throw ApiError("InvalidParameterValue",
                   fmt::format("Value ({}) for parameter HttpPutResponseHopLimit is invalid. It is from 1 to {}.",
                               next.hop_limit, kHopsMax));
  }
  if (next.tags) check_metadata_tags(tags);
  options = next;
}

const Instance& Ec2::modify_metadata_options(const std::string& id, const MetadataWish& wish) {
  instance(id);
  Instance& one = state_->instances.at(id);
  if (one.gone()) {
    throw ApiError("IncorrectInstanceState",
                   fmt::format("The instance '{}' is not in a state from which it can be modified.", id));
  }
  apply_metadata(one.metadata, wish, one.tags);
  state_->save(one);
  return one;
}

}  // namespace kiln::region::ec2
