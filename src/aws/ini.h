// Ini: AWS's shared config and credentials files, as text.
//
// https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html: sections, `key = value`, comments from '#' or ';'
// at the start of a line (or after white space), and values that are themselves a list of indented `key = value`.
#pragma once

#include <map>
#include <string>
#include <string_view>

namespace kiln::aws {

struct IniValue {
  std::string text;
  int line = 0;                               // from 1
  std::map<std::string, std::string> nested;  // of a value that is a list of indented settings
};

struct IniSection {
  int line = 0;
  std::map<std::string, IniValue> values;  // keys are lowercase
};

// Section titles as they stand between the brackets, with one space between words: "default", "profile dev",
// "services local". A section or key that comes again adds to, or replaces, what was there.
using IniFile = std::map<std::string, IniSection>;

// `path` is only for messages. Throws Error(usage) "path:line: what is wrong". A value never appears in a message.
// Files of more than 1 MiB or 10,000 lines are refused.
IniFile parse_ini(std::string_view text, const std::string& path);

}  // namespace kiln::aws
