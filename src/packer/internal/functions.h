// Functions: how functions of HCL2 are written here. Private to this room.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "packer/evaluate.h"

namespace kiln::packer {

// One call, whose arguments are read as what the function needs: Error(usage) at the call else.
struct Call {
  const std::string& name;
  std::vector<Value> arguments;
  Evaluator& evaluator;
  const Place& place;

  const Value& at(std::size_t i) const { return arguments.at(i); }
  std::string text(std::size_t i) const;
  double number(std::size_t i) const;
  std::int64_t whole(std::size_t i) const;
  const std::vector<Value>& list(std::size_t i) const;
  const Value::Members& object(std::size_t i) const;
};

inline constexpr std::size_t kMany = std::numeric_limits<std::size_t>::max();

struct Function {
  std::size_t min = 0;
  std::size_t max = 0;
  std::function<Value(const Call&)> run;
};

void add_text_functions(std::map<std::string, Function>& map);
// YAML, CSV, and digests.
void add_format_functions(std::map<std::string, Function>& map);
void add_network_functions(std::map<std::string, Function>& map);
// Those that ask for the time, files and the environment; JSON and Base64.
void add_outside_functions(std::map<std::string, Function>& map);

}  // namespace kiln::packer
