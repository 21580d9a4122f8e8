// Handlers: the table of served operations, and the refusal of what is not honoured.
#include "region/handlers.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace kiln::region {

void Handlers::set(const wire::Operation& operation, Erased handler) {
  KILN_ASSERT(table_.emplace(&operation, std::move(handler)).second, "an operation has one handler");
}

void Handlers::answer_as(const Handlers& other, std::string_view prefix) {
  for (auto& [operation, handler] : table_) {
    const auto found = other.table_.find(operation);
    if (operation->name.starts_with(prefix) && found != other.table_.end()) handler = found->second;
  }
}

std::shared_ptr<void> Handlers::run(const wire::Operation& operation, const Call& call, const void* input) const {
  return table_.at(&operation)(call, input);
}

void Handlers::prepare(const wire::Operation& operation, const void* input) const {
  auto it = before_.find(&operation);
  if (it != before_.end()) it->second(input);
}

bool Handlers::settled(const wire::Operation& operation, const void* input) const {
  auto it = waits_.find(&operation);
  if (it == waits_.end()) return true;
  try {
    return it->second.settled(input);
  } catch (const ApiError&) {
    return true;
  }
}

Duration Handlers::patience(const wire::Operation& operation) const { return waits_.at(&operation).most; }

std::vector<const wire::Operation*> Handlers::served() const {
  std::vector<const wire::Operation*> operations;
  for (const auto& [operation, handler] : table_) operations.push_back(operation);
  return operations;
}

void only(const wire::Shape& shape, const void* value, std::initializer_list<std::string_view> served) {
  for (const wire::Member& member : shape.members) {
    if (member.get(value) == nullptr || member.name == "DryRun") continue;
    if (std::find(served.begin(), served.end(), member.name) == served.end()) {
      throw ApiError("UnsupportedOperation",
                     fmt::format("The parameter {} is not supported by this region", member.name));
    }
  }
}

void only_within(const wire::Shape& shape, std::string_view member, const void* value,
                 std::initializer_list<std::string_view> served) {
  for (const wire::Member& one : shape.members) {
    if (one.name != member) continue;
    const wire::Shape* inner = one.shape->kind == wire::Kind::list ? one.shape->element : one.shape;
    only(*inner, value, served);
    return;
  }
  KILN_ASSERT(false, "the member is one of the shape's");
}

}  // namespace kiln::region
