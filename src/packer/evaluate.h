// Evaluate: an expression of HCL2 becomes a value.
//
// Pure: what it reads comes from `Outside`. Bounded: every value that is made is paid from one budget, so that a
// template of a few lines cannot fill the memory.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "packer/hcl.h"
#include "packer/value.h"

namespace kiln::packer {

// Elements and bytes that all values of one template may have together.
inline constexpr std::size_t kBudget = std::size_t{8} << 20;
// What each step costs beside what it makes: about the memory of a Value.
inline constexpr std::size_t kStepCost = 64;

struct HostFile {
  std::string content;
  bool executable = false;
};

struct Outside {
  // Names are as the template writes them, relative to where Kiln was started. nullopt: there is no such file.
  std::function<std::optional<HostFile>(const std::string& name)> read;
  // Names of the files below a folder, relative to it, sorted; nullopt: it is not a folder.
  std::function<std::optional<std::vector<std::string>>(const std::string& name)> files_below;
  std::function<std::string(const std::string& name)> environment;  // empty when it is not set
  std::string working;                                              // the absolute folder that names are relative to
  std::string uuid;                                                 // a fresh one
  Time now{};
};

class Evaluator {
 public:
  // `look(root, member)`: the value of "root.member", or nullopt when there is no such root; throws Error(usage).
  using Look = std::function<std::optional<Value>(const std::string& root, const std::string& member, const Place&)>;

  Evaluator(const Outside& outside, Look look) : outside_(outside), look_(std::move(look)) {}

  Value evaluate(const Expression& expression);
  // `env` is allowed in the defaults of variables only.
  void allow_environment(bool allowed) { environment_allowed_ = allowed; }
  const Outside& outside() const { return outside_; }

  // Within `body` these names have values: those of `for`, of `templatefile` and of `dynamic`.
  template <typename Body>
  auto within(const std::map<std::string, Value>& names, Body&& body) -> decltype(body()) {
    const Names scope(*this, names);
    return body();
  }
  Value with_names(const Expression& expression, const std::map<std::string, Value>& names) {
    return within(names, [&] { return evaluate(expression); });
  }
  bool environment_allowed() const { return environment_allowed_; }
  // Takes the value's weight from the budget; Error(usage) when it is used up.
  Value paid(Value value, const Place& place);

 private:
  struct Names {
    Names(Evaluator& of, const std::map<std::string, Value>& names) : names_(of.names_), before_(names_.size()) {
      for (const auto& [key, value] : names) names_.emplace_back(key, value);
    }
    ~Names() { names_.erase(names_.begin() + static_cast<std::ptrdiff_t>(before_), names_.end()); }
    Names(const Names&) = delete;
    Names& operator=(const Names&) = delete;
    std::vector<std::pair<std::string, Value>>& names_;
    std::size_t before_;
  };

  Value compute(const Expression& expression);
  Value text(const Expression& expression);
  Value name(const Expression& expression);
  Value attribute(const Expression& expression);
  Value index(const Expression& expression);
  Value splat(const Expression& expression);
  Value call(const Expression& expression);
  Value object(const Expression& expression);
  Value loop(const Expression& expression);
  Value binary(const Expression& expression);
  Value unary(const Expression& expression);
  bool condition(const Expression& expression);
  const Value* local(const std::string& name) const;

  const Outside& outside_;
  Look look_;
  std::vector<std::pair<std::string, Value>> names_;  // of `for`, innermost last
  bool environment_allowed_ = false;
  std::size_t spent_ = 0;
  int depth_ = 0;
};

// Keys and values of what is gone over: a list's by index, an object's in the order of its keys. Error(usage) else.
std::vector<std::pair<Value, Value>> elements(const Value& of, const Place& place);

// A call of a function by name; Error(usage) when there is none, with the nearest one.
Value call_function(const std::string& name, std::vector<Value> arguments, Evaluator& evaluator, const Place& place);

}  // namespace kiln::packer
