// Policy: what must hold for an image before somebody relies on it, read from a small YAML file.
//
// Like kiln.yaml: whatever is not understood is an Error(usage) that quotes the line, and nothing is ignored.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "spec/source.h"

namespace kiln::spec {

struct Policy {
  std::vector<std::string> signed_by;  // files of public keys, relative to the policy's folder; each must have signed
  bool tests_passed = false;           // `tests: passed`
  bool commit_required = false;        // `commit: required`
  std::string builder;                 // the provenance's builder; empty: any
  std::optional<Duration> max_age;     // since the bake
  std::vector<std::string> base;       // one of these: "debian:bookworm"; empty: any
  std::vector<std::string> packages_forbidden;
  std::map<std::string, std::string> packages_minimum;  // package → the oldest version that may be installed
};

Policy parse_policy(std::string_view text, std::string file_name);

}  // namespace kiln::spec
