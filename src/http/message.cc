// HTTP messages as values.
#include "http/message.h"

#include <strings.h>

#include <algorithm>

namespace kiln::http {

namespace {

bool same_name(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace

void Headers::set(std::string_view name, std::string value) {
  auto matches = [&](const auto& field) { return same_name(field.first, name); };
  auto first = std::find_if(fields_.begin(), fields_.end(), matches);
  if (first == fields_.end()) {
    add(std::string(name), std::move(value));
    return;
  }
  first->second = std::move(value);
  fields_.erase(std::remove_if(first + 1, fields_.end(), matches), fields_.end());
}

std::string_view Headers::get(std::string_view name) const {
  for (const auto& [key, value] : fields_) {
    if (same_name(key, name)) {
      return value;
    }
  }
  return {};
}

bool Headers::has(std::string_view name) const {
  return std::any_of(fields_.begin(), fields_.end(), [&](const auto& field) { return same_name(field.first, name); });
}

}  // namespace kiln::http
