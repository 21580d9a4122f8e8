// ImageTrial: see image_trial.h.
#include "cli/image_trial.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"
#include "builder/ami_image.h"
#include "builder/ami_stand.h"
#include "builder/disk.h"
#include "machine/checks.h"
#include "region/ec2/model.h"

namespace kiln::cli {
namespace {

// What an instance of the fleet would have.
machine::Limits limits_of(const spec::App& app) {
  const std::string name = app.fleet ? app.fleet->instance_type : spec::FleetSpec().instance_type;
  const auto* type = region::ec2::find_instance_type(name);
  if (type == nullptr) {
    throw Error(ErrorCode::usage, fmt::format("there is no instance type '{}' in the region on this machine", name),
                "Name one of those that `aws ec2 describe-instance-types` lists in fleet.instance_type.");
  }
  return {static_cast<std::uint64_t>(type->memory_mib) << 20, static_cast<double>(type->vcpus)};
}

void talk_about(const trial::CheckResult& check) {
  const std::string duration = format_seconds(check.duration);
  std::string said = check.said;
  for (std::size_t at = said.find('\n'); at != std::string::npos; at = said.find('\n', at + 1)) {
    said.replace(at, 1, "\n         ");
  }
  talk(fmt::format("  {}  {}: {}  ({})", check.passed ? "ok    " : "FAILED", check.name, said, duration));
}

}  // namespace

host::Path trials_folder(const Context& context) { return context.home / "trials"; }

namespace {

TrialResult try_on(Context& context, trial::Stand& stand, const std::vector<std::string>& writable,
                   const spec::ImageTest& test, const TrialRequest& request) {
  trial::TrialOptions options;
  if (!request.quiet) options.on_check = talk_about;
  TrialResult result;
  result.report = trial::try_image(stand, context.clock, writable, test, options);
  if (!result.report.console.empty() && !request.quiet) {
    talk("  the console's last lines:");
    for (const std::string& line : split(result.report.console, '\n')) talk("    " + line);
  }
  return result;
}

}  // namespace

TrialResult try_image(Context& context, const spec::App& app, store::Store& store, const TrialRequest& request) {
  context.watch_interrupts();
  const std::string name = fmt::format("{}@{}", app.name, request.version);
  return with_context("testing " + name, [&] {
    machine::require_host(context.home);
    trial::StandOptions options;
    options.trials = trials_folder(context);
    options.what = name;
    options.image = store.image(request.digest);
    options.limits = limits_of(app);
    options.cancelled = [] { return Context::interrupted().load(); };
    trial::RealStand stand(context.clock, context.random, store, options);
    if (!request.quiet) talk(fmt::format("testing {} on a booted instance", name));
    TrialResult result = try_on(context, stand, options.image.config.writable, app.image.test, request);
    if (request.keep) result.kept = stand.keep();
    return result;
  });
}

TrialResult try_ami(Context& context, const spec::App& app, const store::Store& store, builder::Site& site,
                    const AmiTrial& trial, const TrialRequest& request) {
  const std::string name = fmt::format("{}@{}", app.name, request.version);
  return with_context("testing " + name, [&] {
    builder::AmiStandOptions options{app.name, trial.run, trial.ami, {}, name, trial.instance};
    options.secrets = builder::read_disk(builder::disk_of(store, request.digest)).secrets;
    if (app.fleet) options.instance.type = app.fleet->instance_type;
    builder::AmiStand stand(site, options);
    if (!request.quiet) talk(fmt::format("testing {} on an instance of {}", name, trial.ami));
    TrialResult result = try_on(context, stand, {}, app.image.test, request);
    if (request.keep) result.kept = stand.keep();
    return result;
  });
}

void require_passed(const spec::App& app, const TrialRequest& request, const TrialResult& result) {
  if (result.report.passed()) return;
  std::vector<std::string> failed;
  for (const trial::CheckResult& check : result.report.checks) {
    if (!check.passed) failed.push_back(check.name);
  }
  throw Error(ErrorCode::conflict,
              fmt::format("{}@{} failed {} of {} checks: {}", app.name, request.version, failed.size(),
                          result.report.checks.size(), join(failed, ", ")),
              result.kept.empty()
                  ? "It is neither published nor deployed. Run it again with --keep to look into the instance."
                  : "It is neither published nor deployed.");
}

void require_tests_passed(const ledger::Ledger& ledger, const std::string& app, const std::string& version,
                          const Digest& digest) {
  const auto verdict = trial::verdict_of(ledger, app, digest);
  if (!verdict || verdict->passed) return;
  throw Error(ErrorCode::conflict,
              fmt::format("{}@{} ({}) failed its tests on {}: {}", app, version, digest.short_str(),
                          format_iso8601(verdict->when), join(verdict->failed, ", ")),
              fmt::format("Mend it and bake a new version, or test it again: kiln test {}", version));
}

void talk_about_kept(const std::string& name) {
  talk(fmt::format("  the instance was kept. A shell in it: kiln test --shell {0}   Its end: kiln test --end {0}",
                   name));
}

}  // namespace kiln::cli
