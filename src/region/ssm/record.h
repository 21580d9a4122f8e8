// Record: Systems Manager's things as the journal keeps them. What cannot be read is an Error(corrupt) that names it.
#pragma once

#include <string>

#include "region/ssm/model.h"
#include "region/ssm/parameters.h"

namespace kiln::region::ssm {

inline constexpr const char* kCommandTable = "ssm.command";        // without its invocations
inline constexpr const char* kInvocationTable = "ssm.invocation";  // "<command>/<instance>"
inline constexpr const char* kNodeTable = "ssm.node";
inline constexpr const char* kParameterTable = "ssm.parameter";

std::string write_record(const Command& value);
std::string write_record(const Invocation& value, std::size_t turn);
std::string write_record(const Node& value);
std::string write_record(const Parameter& value);
Command read_command(const std::string& text);
struct InvocationRecord {
  Invocation invocation;
  std::size_t turn = 0;  // its place among the command's
};
InvocationRecord read_invocation(const std::string& text);
Node read_node(const std::string& text);
Parameter read_parameter(const std::string& text);

}  // namespace kiln::region::ssm
