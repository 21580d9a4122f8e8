// Orders: see orders.h.
#include "builder/orders.h"

#include <fmt/format.h>

#include <algorithm>

#include "bake/inputs.h"
#include "bake/lock_file.h"
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
          .content = "set -e\n" + lines,
          .mode = 0700,
          .seconds = kEpochSeconds};
}

// Others may be at work at a first boot: cloud-init, and apt's own timers. Debian's initramfs mounts /run without the
// right to execute, and a step's files are to be run from there.
constexpr const char* kBegin =
    "if command -v cloud-init >/dev/null; then cloud-init status --wait >/dev/null || :; fi\n"
    "mount -o remount,exec /run 2>/dev/null || :\n";

// What apt has during the bake beside what the image has: it goes at the end.
constexpr const char* kApt = "/run/kiln-apt";
constexpr const char* kAptConf =
    "Dir::Etc::SourceParts \"/run/kiln-apt/sources\";\nDPkg::Lock::Timeout \"300\";\nAcquire::Retries \"3\";\n"
    "Dpkg::Options:: \"--force-confold\";\nDpkg::Use-Pty \"0\";\n";
constexpr const char* kSources =
    "for file in /etc/apt/sources.list.d/*; do [ ! -e \"$file\" ] || cp \"$file\" /run/kiln-apt/sources/; done\n";
constexpr const char* kUseApt = "export DEBIAN_FRONTEND=noninteractive APT_CONFIG=/run/kiln-apt/apt.conf\n";
// apt by itself goes on with old lists when new ones cannot be had.
constexpr const char* kLists = "apt-get -q -o APT::Update::Error-Mode=any update\n";

// What an instance has of its own must not be in the image of it.
constexpr const char* kEnd =
    "rm -rf /run/kiln-apt\n"
    "if command -v apt-get >/dev/null; then apt-get -q clean; rm -rf /var/lib/apt/lists/*; fi\n"
    "if command -v cloud-init >/dev/null; then cloud-init clean --logs >/dev/null || :; fi\n"
    "rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub /root/.bash_history /home/*/.bash_history\n"
    "rm -f /root/.ssh/authorized_keys /home/*/.ssh/authorized_keys\n"
    ": >/etc/machine-id\nrm -f /var/lib/dbus/machine-id\nsync\n";

constexpr const char* kWithoutSecrets =
    "Bake offline: kiln bake. Or let the instance fetch it at run time, by its role.";

// Keys and sources of the app's own repositories, and Debian's from the app's mirror.
class AptWriter {
 public:
  AptWriter(const spec::App& app, const host::Path& folder) : app_(app), folder_(folder) {}

  Order write() {
    for (const char* part : {"", "/sources", "/keys"}) {
      order_.parcel.push_back({.kind = ParcelEntry::Kind::folder, .path = std::string(kApt) + part, .mode = 0755});
    }
    std::string conf = kAptConf, lines = kBegin;
    if (app_.image.mirror.empty()) {
      lines += kSources;
    } else {
      conf += "Acquire::Check-Valid-Until \"false\";\n";
      put("/sources/kiln-mirror.list", mirrors());
      conf += "Dir::Etc::SourceList \"/dev/null\";\n";
    }
    for (const spec::Repository& repository : app_.image.repositories) add(repository);
    put("/apt.conf", conf);
    order_.parcel.push_back(script(lines + kUseApt + kLists));
    return std::move(order_);
  }

 private:
  void put(const std::string& path, std::string content) {
    order_.parcel.push_back({.path = kApt + path, .content = std::move(content), .seconds = kEpochSeconds});
  }

  void add(const spec::Repository& repository) {
    if (!std::filesystem::is_regular_file(folder_ / repository.key)) {
      throw app_.source.error(
          repository.where,
          fmt::format("the repository '{}' has no key: '{}' is no file", repository.name, repository.key),
          "'key' is relative to the folder of kiln.yaml");
    }
    std::string key = host::read_file(folder_ / repository.key);
    const std::string file =
        fmt::format("/keys/{}{}", repository.name, key.starts_with("-----BEGIN") ? ".asc" : ".gpg");
    std::string source = fmt::format("Types: deb\nURIs: {}\nSuites: {}\nSigned-By: {}{}\n", repository.url,
                                     repository.suite, kApt, file);
    if (!repository.components.empty()) source += "Components: " + join(repository.components, " ") + "\n";
    put(file, std::move(key));
    put("/sources/kiln-" + repository.name + ".sources", std::move(source));
  }

  std::string mirrors() const {
    const auto* debian = std::get_if<spec::DebianBase>(&app_.image.base);
    if (debian == nullptr) {
      throw app_.source.error(app_.image.where, "'mirror' is of Debian, and this base is an AMI",
                              "Leave it out: the AMI has sources of its own.");
    }
    std::string text = fmt::format("deb {0} {1} main\ndeb {0} {1}-updates main\n", app_.image.mirror, debian->release);
    if (!app_.image.security_mirror.empty())
      text += fmt::format("deb {} {}-security main\n", app_.image.security_mirror, debian->release);
    return text;
  }

  const spec::App& app_;
  const host::Path& folder_;
  Order order_{.text = "wait for the first boot, refresh apt's lists", .run = true};
};

class Writer {
 public:
  Writer(const spec::App& app, const host::Path& folder, const bake::LockFile* lock, const spec::Step& step)
      : app_(app),
        folder_(folder),
        lock_(lock),
        step_(step),
        order_{.text = masked(step.text(), app.image.hidden), .step = &step} {}

  Order write() {
    std::visit([this](const auto& action) { put(action); }, step_.action);
    return std::move(order_);
  }

 private:
  // With a lock file all that the step brought is asked for in its version, and what was not asked for by name is
  // marked as apt would have. Recommended packages are left out.
  void put(const spec::PackagesStep& packages) {
    std::string names, brought;
    if (lock_ == nullptr) {
      for (const std::string& name : packages.packages) names += " " + word(name);
    } else {
      const auto* locked = lock_->find(packages.packages);
      if (locked == nullptr) {
        refuse(fmt::format("{} does not say which versions this step brings", bake::kLockFile),
               "Renew it with a bake on this machine: kiln bake --update");
      }
      for (const auto& locking : locked->versions) {
        const std::string& name = locking.first;
        names += " " + word(name + "=" + locking.second);
        const auto is_asked = [&](const std::string& asked) { return asked.substr(0, asked.find('=')) == name; };
        if (std::ranges::none_of(packages.packages, is_asked)) brought += " " + word(name);
      }
    }
    std::string lines =
        kUseApt + std::string("apt-get -q -y --allow-downgrades --no-install-recommends install --") + names + "\n";
    if (!brought.empty()) lines += "apt-mark -q auto" + brought + " >/dev/null\n";
    run(lines);
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
  const bake::LockFile* lock_;
  const spec::Step& step_;
  Order order_;
};

Order own(std::string text, const std::string& lines) {
  return {.text = std::move(text), .parcel = {script(lines)}, .run = true};
}

}  // namespace

std::vector<Order> orders_of(const spec::App& app, const host::Path& folder, bool own_disk) {
  const auto lock = bake::read_lock_file(folder);
  const bool installs = std::ranges::any_of(
      app.image.steps, [](const spec::Step& step) { return std::holds_alternative<spec::PackagesStep>(step.action); });
  std::vector<Order> orders = {installs ? AptWriter(app, folder).write() : own("wait for the first boot", kBegin)};
  for (const spec::Step& step : app.image.steps) {
    orders.push_back(Writer(app, folder, lock ? &*lock : nullptr, step).write());
    if (orders.back().parcel.empty()) continue;
    try {
      deliver(orders.back().parcel, orders.back().run);
    } catch (const Error& error) {
      throw app.source.error(step.where, error.message(), error.next());
    }
  }
  if (own_disk) orders.push_back(own("remove what is this instance's own", kEnd));
  return orders;
}

}  // namespace kiln::builder
