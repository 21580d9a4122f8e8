// Orders: see orders.h.
#include "builder/orders.h"

#include <fmt/format.h>

#include <algorithm>

#include "bake/inputs.h"
#include "base/error.h"
#include "base/mask.h"
#include "base/text.h"

namespace kiln::builder {
namespace {

// 2020-01-01, as in layers: a file's time says nothing but which content it has.
constexpr std::int64_t kEpochSeconds = 1'577'836'800;

std::string word(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

ParcelEntry script(const std::string& lines) {
  return {.kind = ParcelEntry::Kind::file,
          .path = "/run/kiln/step",
          .content = "#!/bin/sh\nset -e\n" + lines,
          .mode = 0700,
          .seconds = kEpochSeconds};
}

// Others may be at work at a first boot: cloud-init, and apt's own timers.
constexpr const char* kBegin =
    "if command -v cloud-init >/dev/null; then cloud-init status --wait >/dev/null || :; fi\n";
constexpr const char* kLists =
    "export DEBIAN_FRONTEND=noninteractive\n"
    "apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 update\n";

// What an instance has of its own must not be in the image of it.
constexpr const char* kEnd =
    "apt-get -q clean\nrm -rf /var/lib/apt/lists/*\n"
    "if command -v cloud-init >/dev/null; then cloud-init clean --logs >/dev/null || :; fi\n"
    "rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub /root/.bash_history /home/*/.bash_history\n"
    "rm -f /root/.ssh/authorized_keys /home/*/.ssh/authorized_keys\n"
    ": >/etc/machine-id\nrm -f /var/lib/dbus/machine-id\nsync\n";

constexpr const char* kWithoutSecrets =
    "Bake offline: kiln bake. Or let the instance fetch it at run time, by its role.";

class Writer {
 public:
  Writer(const spec::App& app, const host::Path& folder, const spec::Step& step)
      : app_(app), folder_(folder), step_(step), order_{.text = masked(step.text(), app.image.hidden), .step = &step} {}

  Order write() {
    std::visit([this](const auto& action) { put(action); }, step_.action);
    return std::move(order_);
  }

 private:
  void put(const spec::PackagesStep& packages) {
    std::string names;
    for (const std::string& name : packages.packages) names += " " + word(name);
    run("export DEBIAN_FRONTEND=noninteractive\napt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 install "
        "--no-install-recommends --" +
        names + "\n");
  }

  void put(const spec::CopyStep& copy) {
    const auto inputs = bake::read_inputs(app_, step_, copy, folder_);
    std::string owners;
    for (const bake::InputEntry& input : inputs) {
      ParcelEntry entry;
      entry.path = bake::target_of(copy, inputs, input);
      entry.uid = copy.uid;
      entry.gid = copy.gid;
      entry.seconds = kEpochSeconds;
      switch (input.kind) {
        case bake::InputEntry::Kind::folder:
          if (entry.path == "/") continue;
          entry.kind = ParcelEntry::Kind::folder;
          entry.mode = copy.mode ? *copy.mode | (*copy.mode & 0444U) >> 2 : 0755;
          break;
        case bake::InputEntry::Kind::link:
          entry.kind = ParcelEntry::Kind::link;
          entry.target = input.target;
          entry.mode = 0777;
          break;
        case bake::InputEntry::Kind::file:
          entry.content = input.text ? *input.text : host::read_file(input.source);
          entry.mode = copy.mode.value_or(input.executable ? 0755 : 0644);
          // Two versions of a page must not share an ETag, which is made of time and size.
          entry.seconds += static_cast<std::int64_t>(input.content.bytes()[0] << 16 | input.content.bytes()[1] << 8 |
                                                     input.content.bytes()[2]);
          break;
      }
      // Names are the instance's own, and one that it does not have is an error there.
      if (!copy.user.empty())
        owners += "chown -h " + word(copy.user + ":" + copy.group) + " " + word(entry.path) + "\n";
      order_.parcel.push_back(std::move(entry));
    }
    if (!owners.empty()) run(owners);
  }

  void put(const spec::RunStep& step) {
    if (!step.secrets.empty()) {
      refuse("a secret would stay in the command history of Systems Manager", kWithoutSecrets);
    }
    for (const spec::StepFile& file : step.files) {
      order_.parcel.push_back({.kind = ParcelEntry::Kind::file,
                               .path = "/run/kiln/files/" + file.name,
                               .content = file.content,
                               .mode = file.mode,
                               .seconds = kEpochSeconds});
    }
    std::string environment = "env";
    for (const auto& [name, value] : step.environment) environment += " " + word(name + "=" + value);
    std::string shell;
    for (const std::string& part : step.shell) shell += " " + word(part);
    std::string lines = "cd /\n";
    for (const std::string& command : step.commands) lines += environment + shell + " " + word(command) + "\n";
    run(lines);
    // What was sent is as readable there as a command is.
    const bool shown = std::ranges::any_of(order_.parcel, [&](const ParcelEntry& entry) {
      return masked(entry.content, app_.image.hidden) != entry.content;
    });
    if (shown) refuse("a sensitive value would stay in the command history of Systems Manager", kWithoutSecrets);
  }

  void put(const spec::EnableStep& enable) {
    std::string names;
    for (const std::string& unit : enable.units) names += " " + word(unit);
    run("systemctl enable --" + names + "\n");
  }

  void put(const spec::HostStep& host) { order_.host = &host; }

  void run(const std::string& lines) {
    order_.parcel.push_back(script(lines));
    order_.run = true;
  }

  [[noreturn]] void refuse(const std::string& why, const std::string& next) const {
    throw app_.source.error(step_.where, why, next);
  }

  const spec::App& app_;
  const host::Path& folder_;
  const spec::Step& step_;
  Order order_;
};

Order own(std::string text, const std::string& lines) {
  return {.text = std::move(text), .parcel = {script(lines)}, .run = true};
}

}  // namespace

std::vector<Order> orders_of(const spec::App& app, const host::Path& folder) {
  if (!app.image.repositories.empty()) {
    throw app.source.error(app.image.repositories.front().where,
                           "package repositories of one's own are not served in an instance",
                           "Bake offline: kiln bake. Or add them by a 'run' step.");
  }
  const bool installs = std::ranges::any_of(
      app.image.steps, [](const spec::Step& step) { return std::holds_alternative<spec::PackagesStep>(step.action); });
  std::vector<Order> orders = {installs
                                   ? own("wait for the first boot, refresh apt's lists", kBegin + std::string(kLists))
                                   : own("wait for the first boot", kBegin)};
  for (const spec::Step& step : app.image.steps) {
    orders.push_back(Writer(app, folder, step).write());
    if (orders.back().parcel.empty()) continue;
    try {
      deliver(orders.back().parcel, orders.back().run);
    } catch (const Error& error) {
      throw app.source.error(step.where, error.message(), error.next());
    }
  }
  orders.push_back(own("remove what is this instance's own", kEnd));
  return orders;
}

}  // namespace kiln::builder
