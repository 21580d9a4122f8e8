// Source: a file of the user's as it was read, to quote from in errors.
#pragma once

#include <string>

#include "base/error.h"

namespace kiln::spec {

// 1-based, as editors count; line 0: not written in the file.
struct Location {
  int line = 0;
  int column = 0;
  bool operator==(const Location&) const = default;
};

struct Source {
  std::string file_name;
  std::string text;
  // "kiln.yaml:7:3".
  std::string at(Location where) const;
  // The line and a caret below the column, two lines without a trailing newline; empty when `where` is not in the file.
  std::string quote(Location where) const;
  // Error(usage): "<at>: <message>", then the quoted line.
  Error error(Location where, const std::string& message, std::string next = {}) const;
};

}  // namespace kiln::spec
