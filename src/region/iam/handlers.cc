// Handlers of IAM: what they share.
#include "region/iam/handlers.h"

#include "base/encoding.h"
#include "base/error.h"
#include "region/iam/state.h"

namespace kiln::region::iam {

void serve(Handlers& handlers, Iam& iam) {
  serve_users(handlers, iam);
  serve_roles(handlers, iam);
  serve_instance_profiles(handlers, iam);
  serve_policies(handlers, iam);
  serve_held_policies(handlers, iam);
}

std::vector<wire::iam::Tag> to_wire(const Tags& tags) {
  std::vector<wire::iam::Tag> out;
  out.reserve(tags.size());
  for (const auto& [key, value] : tags) out.push_back({key, value});
  return out;
}

Tags from_wire(const std::vector<wire::iam::Tag>& tags) {
  Tags out;
  for (const wire::iam::Tag& tag : tags) {
    if (!out.emplace(tag.key.value_or(""), tag.value.value_or("")).second) {
      throw ApiError("InvalidInput", "Duplicate tag keys found. Please note that Tag keys are case insensitive.");
    }
  }
  return out;
}

std::string encoded(const std::string& document) { return percent_encode(document); }

Page::Page(const std::optional<std::string>& marker, const std::optional<std::int64_t>& max_items) {
  if (max_items) check_range("maxItems", *max_items, 1, 1000);
  max_ = max_items.value_or(max_);
  if (!marker) return;
  try {
    after_ = base64_decode(*marker);
  } catch (const Error&) {
    refuse_value("Invalid Marker.");
  }
}

bool Page::takes(const std::string& key) {
  if (!after_.empty() && key <= after_) return false;
  if (taken_ == max_) {
    more_ = true;
    return false;
  }
  ++taken_;
  last_ = key;
  return true;
}

std::string Page::marker() const { return base64_encode(last_); }

}  // namespace kiln::region::iam
