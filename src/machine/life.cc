// Life: see internal/life.h.
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <csignal>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>

#include "base/error.h"
#include "base/text.h"
#include "host/clock.h"
#include "machine/internal/commands.h"
#include "machine/internal/data_volume.h"
#include "machine/internal/disk.h"
#include "machine/internal/fail.h"
#include "machine/internal/life.h"
#include "machine/internal/loop_device.h"
#include "machine/internal/quick_file.h"
#include "machine/internal/volume.h"
#include "machine/namespaces.h"
#include "machine/netns.h"
#include "machine/slots.h"

namespace kiln::machine {
namespace {

constexpr const char* kRecordFile = "machine.json";
constexpr const char* kPhases[] = {"launching", "starting", "running", "stopping", "stopped", "terminating"};
constexpr int kUnitTries = 2000;  // times 5 ms: until a unit that was accepted has started its supervisor

std::vector<std::string> supervisor_command(const Place& place, const std::string& id) {
  std::vector<std::string> argv = own_program(place);
  argv.insert(argv.end(), {kSupervisorCommand, place.folder(id).string(), place.name(id)});
  return argv;
}

// Those of its volumes.
std::vector<std::string> devices_of(const Place& place, const host::Path& folder) {
  std::vector<std::string> devices;
  for (const VolumeAt& at : read_attachments(folder)) {
    const std::string device = place.volumes().device(at.volume);
    if (!device.empty()) devices.push_back(device);
  }
  return devices;
}

// "b 7:5 rw"
std::string rule_of(const std::string& device) {
  struct stat info {};
  if (::stat(device.c_str(), &info) != 0) fail("there is no device", device);
  return fmt::format("b {}:{} rw", major(info.st_rdev), minor(info.st_rdev));
}

// What a running machine may use besides pseudo devices, all of it anew: a unit's list is set as a whole.
void set_unit_devices(const Place& place, const std::string& id, const std::vector<std::string>& devices) {
  std::vector<std::string> argv = {"systemctl", "set-property", "--runtime", place.name(id) + ".service",
                                   "DeviceAllow="};
  for (const std::string& device : devices) argv.push_back(fmt::format("DeviceAllow={} rw", device));
  host::run_checked(argv);
}

// Its init, when it runs.
std::optional<host::ProcessRef> init_of(const host::Path& folder) {
  const auto status = read_status(folder);
  if (!status || status->init.pid <= 0 || !host::alive(status->init)) return std::nullopt;
  return status->init;
}

host::ProcessRef spawn_supervisor(const Place& place, const Spec& spec, std::vector<std::string> command,
                                  const std::vector<host::Path>& cgroups) {
  const host::Path folder = place.folder(spec.id);
  std::error_code ignored;
  std::filesystem::remove(folder / "status", ignored);
  if (place.host.kind == HostKind::systemd) {
    host::Command run;
    run.argv = unit_arguments(place.name(spec.id), spec.limits, devices_of(place, folder), command);
    run.timeout = Duration(30'000);
    host::run_checked(run);
    for (int attempt = 0; attempt < kUnitTries; ++attempt) {
      if (const auto status = read_status(folder)) return status->supervisor;
      host::SystemClock().sleep(Duration(5));
    }
    throw Error(ErrorCode::timeout, fmt::format("the unit {} did not start its machine", place.name(spec.id)),
                fmt::format("See: journalctl -u {}", place.name(spec.id)));
  }
  host::Daemon daemon;
  daemon.argv = std::move(command);
  daemon.output = (folder / "supervisor.log").string();
  for (const host::Path& cgroup : cgroups) daemon.cgroups.push_back(cgroup.string());
  return host::spawn_daemon(daemon);
}

// systemd-nspawn removes these itself, except when it is killed.
void clear_leftovers(const std::string& name, const host::Path& root) {
  // Its lock on the root folder, by device and inode (systemd's image_path_lock): while ours is mounted they are nobody
  // else's.
  struct stat mounted {};
  if (::stat(root.c_str(), &mounted) == 0) {
    ::unlink(fmt::format("/run/systemd/nspawn/locks/inode-{}:{}", mounted.st_dev, mounted.st_ino).c_str());
  }
  for (const char* kind : {"unix-export", "propagate"}) {
    const host::Path path = host::Path("/run/systemd/nspawn") / kind / name;
    while (::umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) {
    }
    ::rmdir(path.c_str());
  }
}

// Its status may be gone with its folder; whoever is in its network is of the machine. Supervisor and agents are not.
void end_processes_in(const std::string& network_namespace) {
  struct stat wanted {};
  if (::stat(namespace_path(network_namespace).c_str(), &wanted) != 0) return;
  for (const auto& [process, argv] : host::processes()) {
    struct stat own {};
    if (::stat(fmt::format("/proc/{}/ns/net", process.pid).c_str(), &own) != 0) continue;
    if (own.st_ino == wanted.st_ino && own.st_dev == wanted.st_dev) host::end_process(process, Duration(5000), SIGKILL);
  }
}

// By its folder, its supervisor and its network: any of them may be gone.
std::set<std::string> machines_left(const Place& place) {
  std::set<std::string> ids;
  std::error_code ignored;
  const host::Path instances = place.options.folder / "instances";
  if (std::filesystem::exists(instances, ignored)) {
    for (const std::string& id : host::list_folder(instances)) ids.insert(id);
  }
  for (const auto& [id, process] : running_supervisors(place.options.folder)) ids.insert(id);
  for (const std::string& name : machine_namespaces(place.options.slot)) ids.insert(name.substr(place.name("").size()));
  return ids;
}

}  // namespace

void write_record(const host::Path& folder, const Record& record) {
  nlohmann::json json = {{"phase", kPhases[static_cast<int>(record.phase)]}, {"cgroups", record.cgroups}};
  write_quick_file(folder / kRecordFile, json.dump() + "\n");
}

std::optional<Record> read_record(const host::Path& folder) {
  const auto text = read_quick_file(folder / kRecordFile);
  if (!text) return std::nullopt;
  try {
    const nlohmann::json json = nlohmann::json::parse(*text);
    Record record;
    const auto phase = std::find(std::begin(kPhases), std::end(kPhases), json.at("phase").get<std::string>());
    if (phase == std::end(kPhases)) return std::nullopt;
    record.phase = static_cast<Record::Phase>(phase - std::begin(kPhases));
    record.cgroups = json.at("cgroups").get<std::vector<std::string>>();
    return record;
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

std::string Place::name(const std::string& id) const { return slot_name(options.slot) + "-" + id; }

host::Path make_instances_folder(const host::Path& region) {
  const host::Path folder = region / "instances";
  host::make_folders(folder, 0700);
  // One that an earlier version has made.
  if (::chmod(folder.c_str(), 0700) != 0) fail("cannot close to others", folder);
  return folder;
}

void check_id(const std::string& id) {
  const bool good = !id.empty() && id.size() <= 40 && std::isalnum(static_cast<unsigned char>(id[0])) != 0 &&
                    std::all_of(id.begin(), id.end(), [](unsigned char c) { return std::isalnum(c) != 0 || c == '-'; });
  if (!good) throw Error(ErrorCode::invalid, fmt::format("\"{}\" cannot be a machine's id", id));
}

host::ProcessRef start_machine(const Place& place, Layers& layers, const Spec& spec, Record::Phase phase) {
  const host::Path folder = place.folder(spec.id);
  Record record;
  record.phase = phase;
  // Written before they are made.
  if (place.host.kind == HostKind::cgroup_v1 || place.host.kind == HostKind::cgroup_v2) {
    for (const Hierarchy& hierarchy : place.host.hierarchies) {
      record.cgroups.push_back((hierarchy.own / place.name(spec.id)).string());
    }
  }
  write_record(folder, record);
  const std::vector<host::Path> cgroups = make_cgroups(place.host, place.name(spec.id), spec.limits);
  write_attachments(folder, spec.volumes);
  for (const VolumeAt& at : spec.volumes) {
    set_device(place.host, place.name(spec.id), rule_of(place.volumes().bind(at.volume)), true);
  }
  layers.hold(spec.id, spec.image);
  attach_volume(folder, place.templates(), spec.disk_gib);
  const Disk disk = make_disk(folder, layers, spec);
  connect_machine(vpc_namespaces(place.options.slot) + spec.interface.vpc, place.name(spec.id), spec.id,
                  spec.interface);

  StartPlan plan;
  plan.name = place.name(spec.id);
  plan.hostname = spec.hostname;
  plan.machine_id = machine_id_of(spec.id);
  plan.root = disk.root;
  plan.read_only = disk.read_only;
  plan.binds = disk.binds;
  plan.hypervisor_uuid = folder / "hypervisor-uuid";
  write_quick_file(plan.hypervisor_uuid, hypervisor_uuid_of(spec.id) + "\n");
  std::filesystem::permissions(plan.hypervisor_uuid, std::filesystem::perms(0444));  // everybody in the guest reads it
  plan.netns = namespace_path(plan.name);
  std::vector<std::string> command = supervisor_command(place, spec.id);
  const std::string program = host::find_program("systemd-nspawn");
  if (program.empty()) {
    throw Error(ErrorCode::missing_program, "the program 'systemd-nspawn' is not installed",
                "Install it: apt-get install systemd-container");
  }
  std::vector<std::string> nspawn = nspawn_arguments(plan);
  nspawn[0] = program;
  command.insert(command.end(), nspawn.begin(), nspawn.end());
  return spawn_supervisor(place, spec, std::move(command), cgroups);
}

Error start_error(const host::Path& folder, const std::string& what) {
  const std::string tail = last_lines(trim(read_quick_file(folder / "console.log").value_or("")), 8);
  Error error(ErrorCode::io, fmt::format("{}{}{}", what, tail.empty() ? "" : ": ", tail),
              "Look at the image: it must hold an init (Debian: the package systemd-sysv).");
  error.add_context(fmt::format("starting machine {}", folder.filename().string()));
  return error;
}

void make_volume_of(const Place& place, const std::string& id, std::uint64_t gib, const std::string& origin,
                    const std::string& machine) {
  const auto init = machine.empty() ? std::nullopt : init_of(place.folder(machine));
  std::optional<FrozenDevice> still;
  if (init) still.emplace(init->pid, place.volumes().bind(origin));
  place.volumes().make(id, gib, origin);
}

void attach_volume_to(const Place& place, const std::string& id, const VolumeAt& at) {
  const host::Path folder = place.folder(id);
  std::vector<VolumeAt> volumes = read_attachments(folder);
  if (std::find(volumes.begin(), volumes.end(), at) == volumes.end()) volumes.push_back(at);
  write_attachments(folder, volumes);
  const std::string device = place.volumes().bind(at.volume);
  const auto init = init_of(folder);
  const auto status = read_status(folder);
  if (init) {
    if (place.host.kind == HostKind::systemd) set_unit_devices(place, id, devices_of(place, folder));
    set_device(place.host, place.name(id), rule_of(device), true);
    show_device(init->pid, at, device);
    if (host::alive(*init)) return;
  }
  // One that is stopped gets it with its next start. One between two boots may have read what it has before us.
  if (status && host::alive(status->supervisor)) {
    throw Error(ErrorCode::conflict, fmt::format("machine {} boots just now", id));
  }
}

void detach_volume_from(const Place& place, const std::string& id, const std::string& volume) {
  const host::Path folder = place.folder(id);
  std::vector<VolumeAt> volumes = read_attachments(folder);
  const auto at =
      std::find_if(volumes.begin(), volumes.end(), [&](const VolumeAt& one) { return one.volume == volume; });
  const std::string device = place.volumes().device(volume);
  if (!device.empty() && is_claimed(device)) {
    throw Error(ErrorCode::conflict, fmt::format("the volume {} is mounted in {}", volume, id));
  }
  const auto init = init_of(folder);
  if (init && at != volumes.end()) hide_device(init->pid, *at);
  if (at != volumes.end()) volumes.erase(at);
  write_attachments(folder, volumes);
  if (!device.empty()) {
    set_device(place.host, place.name(id), rule_of(device), false);
    if (init && place.host.kind == HostKind::systemd) set_unit_devices(place, id, devices_of(place, folder));
  }
  place.volumes().release(volume);
}

std::vector<std::string> own_program(const Place& place) {
  std::vector<std::string> argv = place.options.supervisor;
  if (argv.at(0) == "/proc/self/exe") {
    std::error_code missing;
    const host::Path file = std::filesystem::read_symlink("/proc/self/exe", missing);
    argv[0] = std::filesystem::exists(file, missing) ? file.string() : fmt::format("/proc/{}/exe", ::getpid());
  }
  return argv;
}

void clear_processes(const Place& place, const std::string& id) {
  for (const auto& [other, process] : running_supervisors(place.options.folder)) {
    if (other == id) host::end_process(process, Duration(2000), SIGKILL);
  }
  // Init does not end with the systemd-nspawn that started it.
  const auto status = read_status(place.folder(id));
  if (status && status->init.pid > 0) host::end_process(status->init, Duration(5000), SIGKILL);
  if (!status) end_processes_in(place.name(id));
  if (place.host.kind == HostKind::systemd) {
    // Both fail where there is no such unit any more, and that is fine. The unit's name is free again only after its
    // stop.
    for (const std::vector<std::string>& verb : {std::vector<std::string>{"kill", "--signal=SIGKILL"}, {"stop"}}) {
      host::Command command;
      command.argv = {"systemctl", "--quiet"};
      command.argv.insert(command.argv.end(), verb.begin(), verb.end());
      command.argv.push_back(place.name(id) + ".service");
      command.timeout = Duration(20'000);
      host::run(command);
    }
  }
  if (const auto record = read_record(place.folder(id))) {
    std::vector<host::Path> folders(record->cgroups.begin(), record->cgroups.end());
    remove_cgroups(folders);
  } else {
    remove_cgroups(cgroups_with_prefix(place.host, place.name(id)));
  }
  clear_leftovers(place.name(id), place.folder(id) / "root");
}

void remove_machine(const Place& place, const std::string& id) {
  const host::Path folder = place.folder(id);
  thaw_volume(folder);  // who waits for a frozen one cannot be killed, and it would outlive its mount
  thaw_volumes(place, id);
  clear_processes(place, id);
  disconnect_machine(place.name(id));
  unmount_disk(folder);
  end_agents(folder);
  for (const VolumeAt& at : read_attachments(folder)) place.volumes().release(at.volume);
  host::remove_tree(folder);
}

void thaw_volumes(const Place& place, const std::string& id) {
  const auto init = init_of(place.folder(id));
  if (!init) return;
  for (const std::string& device : devices_of(place, place.folder(id))) thaw_device(init->pid, device);
}

std::vector<std::string> machine_namespaces(int slot) {
  std::vector<std::string> names = namespaces_with_prefix(slot_name(slot) + "-");
  std::erase_if(names, [&](const std::string& name) { return name.starts_with(vpc_namespaces(slot) + "vpc-"); });
  return names;
}

std::vector<std::pair<std::string, host::ProcessRef>> running_supervisors(const host::Path& folder) {
  const std::string prefix = (folder / "instances").string() + "/";
  std::vector<std::pair<std::string, host::ProcessRef>> found;
  for (const auto& [process, argv] : host::processes()) {
    const auto command = std::find(argv.begin(), argv.end(), kSupervisorCommand);
    // systemd-run names the same command while it asks for the unit; it ends by itself.
    if (command == argv.end() || command + 1 == argv.end() || !(command + 1)->starts_with(prefix)) continue;
    found.emplace_back((command + 1)->substr(prefix.size()), process);
  }
  return found;
}

std::vector<std::string> remove_all_machines(const host::Path& folder, int slot) {
  Place place;
  place.options.folder = folder;
  place.options.slot = slot;
  place.host = host_limits();
  std::vector<std::string> problems;
  const auto attempt = [&](const std::function<void()>& act) {
    try {
      act();
    } catch (const std::exception& error) {
      problems.emplace_back(error.what());
    }
  };
  for (const std::string& id : machines_left(place)) attempt([&] { remove_machine(place, id); });
  for (const MountLine& mount : mounts_below(folder / "layers")) attempt([&] { unmount(mount.target); });
  attempt([&] { host::remove_tree(folder / "layers"); });
  attempt([&] { host::remove_tree(place.templates()); });
  attempt([&] { place.volumes().release_all(); });
  return problems;
}

}  // namespace kiln::machine
