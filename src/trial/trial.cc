// Trial: see trial.h.
#include "trial/trial.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "ledger/ledger.h"
#include "trial/checks.h"

namespace kiln::trial {
namespace {

constexpr Duration kBootMost{180'000};  // Debian's own units give up after 90 s
constexpr Duration kComing{10'000};     // what is on its way is waited for so long
constexpr Duration kPause{200};
constexpr Duration kFetchMost{10'000};
constexpr Duration kQuestionMost{60'000};
constexpr std::size_t kConsoleLines = 20;
// With how the checks are made: images that passed older ones are tested again.
constexpr std::string_view kChecksVersion = "1";

class Trial {
 public:
  Trial(Stand& stand, host::Clock& clock, const std::vector<std::string>& writable, const TrialOptions& options)
      : stand_(stand), clock_(clock), writable_(writable), options_(options) {}

  Report run(const spec::ImageTest& test) {
    const Duration begin = clock_.uptime();
    std::vector<CheckResult> results(test.size());
    if (boot()) {
      add(measured("no failed units", [&] { return judge_failed_units(ask(kFailedUnitsQuestion, kQuestionMost)); }));
      // What a check of the boot finds is best asked for before other checks run.
      const auto early = [](const spec::ImageCheck& check) {
        return std::holds_alternative<spec::MemoryCheck>(check.action);
      };
      for (const bool now : {true, false}) {
        for (std::size_t i = 0; i < test.size(); ++i) {
          if (early(test[i]) == now) results[i] = add(make(test[i]), false);
        }
      }
      report_.checks.insert(report_.checks.end(), results.begin(), results.end());
    }
    if (!report_.passed()) report_.console = last_lines(trim(stand_.console()), kConsoleLines);
    report_.took = clock_.uptime() - begin;
    return report_;
  }

 private:
  // Whether there is anything to ask.
  bool boot() {
    bool alive = false;
    add(measured("boot", [&]() -> Finding {
      stand_.boot();
      ready_ = ask(kReadyQuestion, kBootMost);
      alive = true;
      const Ready ready = read_ready(ready_);
      if (ready.ready) return {true, fmt::format("booted in {}", format_seconds(ready.boot))};
      if (ready_.how == machine::CommandEnd::How::timed_out) {
        return {false, fmt::format("the boot did not end within {}", format_duration(kBootMost))};
      }
      alive = false;
      return {false, ready_.how == machine::CommandEnd::How::exited
                         ? fmt::format("systemd says '{}'", ready.state)
                         : judge(spec::ImageCheck{{}, spec::ReadOnlyCheck{}}, ready_).said};
    }));
    return alive;
  }

  CheckResult make(const spec::ImageCheck& check) {
    return measured(check.text(), [&]() -> Finding {
      if (const auto* http = std::get_if<spec::HttpCheck>(&check.action)) {
        return again([&] { return fetch(*http); }, http->timeout);
      }
      if (const auto* secrets = std::get_if<spec::NoSecretsCheck>(&check.action)) {
        const std::vector<std::string> found = stand_.secrets(secrets->except);
        return {found.empty(), found.empty() ? "none found" : join(found, "\n")};
      }
      if (std::holds_alternative<spec::BootCheck>(check.action)) return judge(check, ready_);
      const auto* run = std::get_if<spec::RunCheck>(&check.action);
      const Duration most = run != nullptr ? run->timeout : kQuestionMost;
      const std::string script = question(check, writable_);
      return again([&] { return judge(check, ask(script, most)); }, kComing);
    });
  }

  Finding fetch(const spec::HttpCheck& check) {
    http::Request request;
    const auto mark = check.path.find('?');
    request.path = check.path.substr(0, mark);
    if (mark != std::string::npos) request.query = check.path.substr(mark + 1);
    request.headers.set("User-Agent", "kiln-test");
    try {
      return judge(check, stand_.fetch(check.port, request, std::min(check.timeout, kFetchMost)));
    } catch (const Error& error) {
      if (error.code() != ErrorCode::unavailable && error.code() != ErrorCode::timeout) throw;
      return {false, error.message(), true};
    }
  }

  template <typename Body>
  Finding again(Body&& body, Duration most) {
    const Duration end = clock_.uptime() + most;
    while (true) {
      const Finding finding = body();
      if (finding.passed || !finding.may_yet || clock_.uptime() + kPause > end) return finding;
      clock_.sleep(kPause);
    }
  }

  machine::CommandEnd ask(const std::string& script, Duration most) {
    machine::Command command;
    command.id = fmt::format("check-{}", ++asked_);
    command.script = script;
    command.directory = "/";
    command.timeout = most;
    return stand_.ask(command);
  }

  template <typename Body>
  CheckResult measured(std::string name, Body&& body) {
    const Duration begin = clock_.uptime();
    CheckResult result{.name = std::move(name), .passed = false, .said = {}, .duration = {}};
    try {
      const Finding finding = body();
      result.passed = finding.passed;
      result.said = finding.said;
    } catch (const Error& error) {
      // The machine has ended under us; all else is not the image's fault.
      if (error.code() != ErrorCode::conflict) throw;
      result.said = error.message();
    }
    result.duration = clock_.uptime() - begin;
    return result;
  }

  CheckResult add(CheckResult result, bool keep = true) {
    if (options_.on_check) options_.on_check(result);
    if (keep) report_.checks.push_back(result);
    return result;
  }

  Stand& stand_;
  host::Clock& clock_;
  const std::vector<std::string>& writable_;
  const TrialOptions& options_;
  Report report_;
  machine::CommandEnd ready_;
  int asked_ = 0;
};

std::string xml(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '"') {
      out += "&quot;";
    } else if (byte < 0x20 && c != '\n' && c != '\t') {
      out += '?';  // no character of XML 1.0
    } else {
      out += c;
    }
  }
  return out;
}

std::string seconds(Duration duration) {
  return fmt::format("{}.{:03}", duration.count() / 1000, duration.count() % 1000);
}

}  // namespace

bool Report::passed() const { return !checks.empty() && failed() == 0; }

std::size_t Report::failed() const {
  return static_cast<std::size_t>(std::ranges::count_if(checks, [](const CheckResult& one) { return !one.passed; }));
}

Report try_image(Stand& stand, host::Clock& clock, const std::vector<std::string>& writable,
                 const spec::ImageTest& test, const TrialOptions& options) {
  return Trial(stand, clock, writable, options).run(test);
}

Digest fingerprint(const spec::ImageTest& test) {
  std::string all(kChecksVersion);
  for (const spec::ImageCheck& check : test) all += "\n" + check.text();
  return sha256(all);
}

std::optional<Verdict> verdict_of(const ledger::Ledger& ledger, const std::string& app, const Digest& image) {
  ledger::Query query;
  query.kind = kImageTested;
  query.subject = app;
  query.limit = 0;
  query.newest_first = true;
  for (const ledger::Entry& entry : ledger.read(query)) {
    const auto body = nlohmann::json::parse(entry.body, nullptr, false);
    if (!body.is_object() || body.value("digest", "") != image.str()) continue;
    Verdict verdict;
    verdict.passed = body.value("passed", false);
    verdict.when = entry.time;
    if (const std::string test = body.value("test", ""); !test.empty()) verdict.test = Digest::parse(test);
    for (const auto& check : body.value("checks", nlohmann::json::array())) {
      if (!check.value("passed", false)) verdict.failed.push_back(check.value("name", ""));
    }
    return verdict;
  }
  return std::nullopt;
}

void record(ledger::Ledger& ledger, const std::string& app, const std::string& version, const Digest& image,
            const spec::ImageTest& test, const Report& report) {
  nlohmann::json body = to_json(report);
  body.erase("console");
  body["version"] = version;
  body["digest"] = image.str();
  body["test"] = fingerprint(test).str();
  ledger.append(kImageTested, app, body);
}

nlohmann::json to_json(const Report& report) {
  nlohmann::json checks = nlohmann::json::array();
  for (const CheckResult& check : report.checks) {
    checks.push_back({{"name", check.name},
                      {"passed", check.passed},
                      {"said", check.said},
                      {"duration_ms", check.duration.count()}});
  }
  return {{"passed", report.passed()},
          {"checks", checks},
          {"console", report.console},
          {"duration_ms", report.took.count()}};
}

std::string to_junit(const Report& report, const std::string& name) {
  std::string out = fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" "
      "time=\"{}\">\n",
      xml(name), report.checks.size(), report.failed(), seconds(report.took));
  for (const CheckResult& check : report.checks) {
    out += fmt::format("    <testcase classname=\"{}\" name=\"{}\" time=\"{}\"", xml(name), xml(check.name),
                       seconds(check.duration));
    const auto line = check.said.substr(0, check.said.find('\n'));
    out += check.passed ? "/>\n"
                        : fmt::format(">\n      <failure message=\"{}\">{}</failure>\n    </testcase>\n", xml(line),
                                      xml(check.said));
  }
  if (!report.console.empty()) out += fmt::format("    <system-out>{}</system-out>\n", xml(report.console));
  return out + "  </testsuite>\n</testsuites>\n";
}

}  // namespace kiln::trial
