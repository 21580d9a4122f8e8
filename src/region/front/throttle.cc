// Throttle: see throttle.h.
#include "region/front/throttle.h"

#include <fmt/format.h>

#include <algorithm>

namespace kiln::region {
namespace {

constexpr Bucket kReading{100, 20};
constexpr Bucket kReadingAll{50, 10};  // unfiltered and unpaginated
constexpr Bucket kChanging{50, 5};
constexpr Bucket kTagging{100, 10};
constexpr Bucket kLaunching{5, 2};

bool says_anything(const wire::Operation& operation, const void* input) {
  return std::any_of(operation.input->members.begin(), operation.input->members.end(),
                     [&](const wire::Member& member) { return member.get(input) != nullptr; });
}

}  // namespace

Bucket bucket_of(const wire::Operation& operation, const void* input) {
  const std::string_view name = operation.name;
  if (name.starts_with("Describe") || name.starts_with("Get") || name.starts_with("List")) {
    return says_anything(operation, input) ? kReading : kReadingAll;
  }
  if (name == "RunInstances" || name == "StartInstances") return kLaunching;
  return name == "CreateTags" || name == "DeleteTags" ? kTagging : kChanging;
}

bool Throttle::take(const std::string& account, const std::string& region, const wire::Operation& operation,
                    const void* input, Duration now) {
  const Bucket bucket = bucket_of(operation, input);
  const std::string key =
      fmt::format("{}/{}/{}/{}/{}", account, region, operation.service->key, operation.name, bucket.size);
  Level& level = levels_.try_emplace(key, Level{bucket.size, now}).first->second;
  const double seconds = std::chrono::duration<double>(now - level.at).count();
  level = {std::min(bucket.size, level.tokens + seconds * bucket.refill), now};
  if (level.tokens < 1) return false;
  level.tokens -= 1;
  return true;
}

}  // namespace kiln::region
