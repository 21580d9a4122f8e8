// Secrets: values that a step's commands may read, and keeping them out of all else. Private to this room.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "host/file.h"
#include "spec/app.h"

namespace kiln::bake {

// A shorter one would hide half of every output, and be found everywhere.
inline constexpr std::size_t kSecretBytesMin = 4;

// Name and value of those that the step asks for. A line's end at the end of a value is not part of it. Throws
// Error(usage) that quotes the secret's line in kiln.yaml when it cannot be had, never its value.
std::map<std::string, std::string> read_secrets(const spec::App& app, const host::Path& app_folder,
                                                const std::vector<std::string>& names);

// Passes a stream on with "***" for every secret and for every line of one, also when it comes in pieces. The end of
// what was written is held back as long as it may be the beginning of a secret.
class Mask {
 public:
  Mask(const std::map<std::string, std::string>& secrets, std::function<void(std::string_view)> next);
  void write(std::string_view piece);
  void finish();

 private:
  void pass(bool all);

  std::vector<std::string> hidden_;  // longest first
  std::function<void(std::string_view)> next_;
  std::string held_;
};

// The first file below `tree` that has one of the values in it, relative to `tree`; empty when there is none.
std::string file_with_a_secret(const host::Path& tree, const std::map<std::string, std::string>& secrets);

}  // namespace kiln::bake
