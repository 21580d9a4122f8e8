// Interpolate: Packer's `{{ }}` in strings: Go's text/template as far as templates use it.
//
// Calls with words, quoted and `raw` strings, fields (`.Vars`) and pipes. `if`, `range` and variables are refused by
// name. Where a function's answer is only known later, the caller leaves it out of `fields`, which is an error too.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/time.h"
#include "packer/value.h"

namespace kiln::packer {

struct Interpolation {
  std::map<std::string, std::string> fields{};     // ".Vars"'s value is under "Vars"
  std::map<std::string, std::string> variables{};  // `user`; of legacy templates
  bool has_variables = false;                      // HCL2 has no `user`
  std::map<std::string, std::string> build{};      // `build "ID"`
  std::string build_name{};
  std::string build_type{};
  std::string folder{};   // `template_dir`
  std::string working{};  // `pwd`
  std::string uuid{};     // `uuid`, and `build "PackerRunUUID"`
  Time now{};
  std::function<std::string(const std::string&)> environment{};  // `env`; empty: refused here
};

// Throws Error(usage) at `place`.
std::string interpolate(const std::string& text, const Interpolation& with, const Place& place);
bool has_actions(const std::string& text);

// Go's time layout: "2006-01-02T15:04:05Z07:00" says how; always UTC.
std::string format_go_time(Time time, const std::string& layout);
// What EC2 does not allow in an AMI's name becomes '-'.
std::string clean_resource_name(const std::string& name);

}  // namespace kiln::packer
