// ImageTest: what a booted instance of an image must do before the image may be published; `image.test` of kiln.yaml.
// Regular expressions are POSIX extended ones, and compile.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/time.h"
#include "spec/source.h"

namespace kiln::spec {

struct UnitCheck {  // is active
  std::string unit;
};
struct PortsCheck {        // something listens there, by TCP, on an address that is not loopback
  std::vector<int> ports;  // sorted, unique
  bool only = false;       // and nowhere else
};
struct HttpCheck {  // asked from outside; again until it answers so or `timeout` is over
  int port = 80;
  std::string path = "/";
  int status = 200;
  std::string body{};                                          // a regular expression that is found in it
  std::vector<std::pair<std::string, std::string>> headers{};  // name, and an expression that is found in its value
  Duration timeout = std::chrono::seconds(10);
};
struct RunCheck {  // commands for /bin/sh -ec, as root
  std::vector<std::string> commands;
  int status = 0;
  std::string output{};  // a regular expression that is found in stdout
  Duration timeout = std::chrono::seconds(60);
  std::string title{};  // what people read instead of the commands; says all that they say
};
struct BootCheck {  // from init's start until systemd has started all it was to
  Duration most{};
};
struct MemoryCheck {  // what all processes hold after the boot: the sum of their proportional set sizes
  std::uint64_t bytes_most = 0;
};
struct FileCheck {
  std::string path;  // absolute
  bool absent = false;
  std::optional<unsigned> mode{};
  std::string owner{};  // "33:33" or "www-data:www-data"; empty: any
  std::optional<std::string> content{};
  std::string contains{};  // a text within a line
  std::string sha256{};    // 64 hex digits
};
struct NoSecretsCheck {               // of the image itself, before anything ran
  std::vector<std::string> except{};  // absolute paths that may be there
};
struct ReadOnlyCheck {};  // the root cannot be written outside the image's `writable`

struct ImageCheck {
  Location where{};
  std::variant<UnitCheck, PortsCheck, HttpCheck, RunCheck, BootCheck, MemoryCheck, FileCheck, NoSecretsCheck,
               ReadOnlyCheck>
      action{};
  // One line that says all of it: two checks with the same text are the same check.
  std::string text() const;
};
using ImageTest = std::vector<ImageCheck>;

}  // namespace kiln::spec
