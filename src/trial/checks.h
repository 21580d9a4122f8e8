// Checks: what each check of `image.test` asks a booted instance, and what the answer means. Pure.
//
// A question is a script for the instance's /bin/sh, run as root by its own init; it changes nothing that stays. HTTP
// checks are asked from outside instead, and secrets are looked for in what was baked (secrets.h).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "http/message.h"
#include "machine/machine.h"
#include "spec/image_test.h"

namespace kiln::trial {

struct Finding {
  bool passed = false;
  std::string said{};    // one or a few lines for people: what was found
  bool may_yet = false;  // not so now, but what was asked for is on its way: worth asking again
};

// Empty for HttpCheck and NoSecretsCheck. `writable`: the folders of the image that may be written.
std::string question(const spec::ImageCheck& check, const std::vector<std::string>& writable);
Finding judge(const spec::ImageCheck& check, const machine::CommandEnd& answer);
Finding judge(const spec::HttpCheck& check, const http::Response& answer);

// Waits in the instance until systemd has started all it was to, and says when that was.
extern const char* const kReadyQuestion;
struct Ready {
  bool ready = false;
  std::string state{};  // systemd's word: "running", "degraded", "starting"
  Duration boot{};      // from init's start
  std::string jobs{};   // what is still being started, when it is not ready
};
Ready read_ready(const machine::CommandEnd& answer);

// No unit may have failed, whatever else is asked for.
extern const char* const kFailedUnitsQuestion;
Finding judge_failed_units(const machine::CommandEnd& answer);

// Whether the POSIX extended expression is found in `text`; '^' and '$' are a line's. False for one that is none.
bool found_in(const std::string& expression, std::string_view text);

}  // namespace kiln::trial
