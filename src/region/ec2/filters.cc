// Filters: how Describe calls narrow and page their answers.
#include "region/ec2/filters.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/encoding.h"
#include "base/error.h"
#include "base/text.h"
#include "region/api_error.h"

namespace kiln::region::ec2 {
namespace {

[[noreturn]] void unknown(const std::string& name) {
  throw ApiError("InvalidParameterValue", fmt::format("The filter '{}' is invalid", name));
}

bool is_tag_filter(const std::string& name) { return name.starts_with("tag:") || name == "tag-key"; }

bool one_matches(const std::vector<std::string>& wanted, const std::vector<std::string>& values) {
  for (const std::string& pattern : wanted) {
    for (const std::string& value : values) {
      if (wildcard_match(pattern, value)) return true;
    }
  }
  return false;
}

}  // namespace

bool matches(const std::vector<wire::ec2::Filter>& filters, const Tags& tags, const FilterValues& values) {
  for (const wire::ec2::Filter& filter : filters) {
    std::string name = filter.name.value_or("");
    std::vector<std::string> held;
    if (name == "tag-key") {
      for (const auto& [key, value] : tags) held.push_back(key);
    } else if (name.starts_with("tag:")) {
      auto it = tags.find(name.substr(4));
      if (it != tags.end()) held.push_back(it->second);
    } else {
      auto found = values(name);
      if (!found) unknown(name);
      held = std::move(*found);
    }
    if (!one_matches(filter.values, held)) return false;
  }
  return true;
}

void check_names(const std::vector<wire::ec2::Filter>& filters, const FilterValues& values) {
  for (const wire::ec2::Filter& filter : filters) {
    std::string name = filter.name.value_or("");
    if (!is_tag_filter(name) && !values(name)) unknown(name);
  }
}

Page::Page(const std::optional<std::int64_t>& max_results, const std::optional<std::string>& next_token,
           std::int64_t minimum, std::int64_t maximum)
    : max_(max_results) {
  if (max_ && (*max_ < minimum || *max_ > maximum)) {
    throw ApiError("InvalidParameterValue",
                   fmt::format("Value ( {} ) for parameter maxResults is invalid. Expecting a value "
                               "between {} and {}.",
                               *max_, minimum, maximum));
  }
  if (!next_token) return;
  try {
    after_ = base64_decode(*next_token);
  } catch (const Error&) {
    after_.clear();
  }
  if (!after_.starts_with("after:")) throw ApiError("InvalidNextToken", "The specified token is invalid.");
  after_.erase(0, 6);
}

bool Page::takes(const std::string& key) {
  if (more_ || key <= after_) return false;
  if (max_ && taken_ == *max_) {
    more_ = true;
    return false;
  }
  ++taken_;
  last_ = key;
  return true;
}

std::optional<std::string> Page::next_token() const {
  if (!more_) return std::nullopt;
  return base64_encode("after:" + last_);
}

}  // namespace kiln::region::ec2
