// Context: what every command is given: the outside world, and what the user said before the command's own words.
#pragma once

#include <atomic>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "host/clock.h"
#include "host/file.h"
#include "host/random.h"

namespace kiln::cli {

inline constexpr std::string_view kVersion = "0.1.0";

struct Context {
  host::SystemClock clock;
  host::SystemRandom random;
  host::Path home;    // $KILN_HOME
  host::Path folder;  // the app's: the current one, or that of -C

  // Set by Ctrl-C after `watch_interrupts`; the second Ctrl-C ends the program.
  static std::atomic<bool>& interrupted();
  void watch_interrupts();

  host::Path store_folder() const { return home / "store"; }
  host::Path ledger_folder() const { return home / "ledger"; }
  host::Path locks_folder() const { return home / "locks"; }
  host::Path region_folder(const std::string& name) const { return home / "regions" / name; }
  std::string actor() const;  // "user@host"
};

// stdout is the answer, stderr the talk. Both end the line. An answer that cannot be written is an error; talk that
// nobody reads any more (`2>&1 | head`) stops nothing.
void say(std::string_view line);
void talk(std::string_view line);
// One JSON object and a newline on stdout.
void say_json(const nlohmann::json& object);

// "Error: <what failed>", "  why", "  next": three parts, on stderr.
void print_error(const std::exception& error);
// 1 failed, nothing changed · 2 wrong usage or file · 5 held by someone else · 130 interrupted. The rest are answers of
// commands: README.md has them all.
int exit_code_of(const std::exception& error);

}  // namespace kiln::cli
