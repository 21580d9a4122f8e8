// Trial: an image is booted and looked at, before anybody can deploy it.
//
// Every check is made, also after one has failed. What is not there yet but on its way (a unit that starts, a port, an
// HTTP answer) is asked for again, ten seconds at the most or as long as the check says. Two checks are always made:
// the boot ends, and no unit has failed.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/digest.h"
#include "host/clock.h"
#include "spec/image_test.h"
#include "store/image.h"
#include "trial/stand.h"

namespace kiln::ledger {
class Ledger;
}

namespace kiln::trial {

struct CheckResult {
  std::string name;  // "http :80/healthz 200"
  bool passed = false;
  std::string said;
  Duration duration{};
};

struct Report {
  std::vector<CheckResult> checks;
  std::string console;  // its last lines, when a check has failed
  Duration took{};
  bool passed() const;  // false without checks
  std::size_t failed() const;
};

struct TrialOptions {
  std::function<void(const CheckResult&)> on_check{};  // in the order in which they are made
};

// `stand` has not booted anything yet; `writable` are the folders of its image that may be written. What the image does
// wrong is a failed check; what fails of the host (no root, no space, a blob that is altered), and Error(cancelled),
// are thrown.
Report try_image(Stand& stand, host::Clock& clock, const std::vector<std::string>& writable,
                 const spec::ImageTest& test, const TrialOptions& options = {});

// Of the checks, and of how they are made: the same for the same test.
Digest fingerprint(const spec::ImageTest& test);

inline constexpr std::string_view kImageTested = "image.tested";

// The newest image.tested of an image.
struct Verdict {
  bool passed = false;
  Digest test;                      // the fingerprint
  std::vector<std::string> failed;  // names of checks
  Time when{};
};
// By the image's digest: also of another version that is the same bytes.
std::optional<Verdict> verdict_of(const ledger::Ledger& ledger, const std::string& app, const Digest& image);
void record(ledger::Ledger& ledger, const std::string& app, const std::string& version, const Digest& image,
            const spec::ImageTest& test, const Report& report);

nlohmann::json to_json(const Report& report);
// JUnit's XML, as CI systems read it: one test case a check.
std::string to_junit(const Report& report, const std::string& name);

}  // namespace kiln::trial
