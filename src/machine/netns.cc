// NamespaceNetwork: see netns.h.
#include "machine/netns.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <system_error>

#include "base/error.h"
#include "base/text.h"
#include "machine/namespaces.h"
#include "machine/ruleset.h"
#include "machine/slots.h"

namespace kiln::machine {
namespace {

constexpr Duration kToolTimeout{10'000};  // ip and nft take milliseconds; this is for a host that is stuck

constexpr const char* kUplinkProgram = "slirp4netns";

void write_setting(const char* path, std::string_view value) {
  const host::FileDescriptor fd(::open(path, O_WRONLY | O_CLOEXEC));
  // A kernel without the setting behaves as if it were off, which is what all of these but forwarding are for.
  if (!fd) return;
  if (::write(fd.get(), value.data(), value.size()) != static_cast<ssize_t>(value.size())) {
    throw Error(ErrorCode::io, fmt::format("cannot write {} to {}: {}", value, path, std::strerror(errno)));
  }
}

// On a thread inside the region's namespace.
void settle_kernel() {
  // The host's defaults are inherited by a new namespace and must not decide how ours routes.
  write_setting("/proc/sys/net/ipv4/ip_forward", "1");
  write_setting("/proc/sys/net/ipv4/conf/all/rp_filter", "0");
  write_setting("/proc/sys/net/ipv4/conf/default/rp_filter", "0");
  write_setting("/proc/sys/net/ipv4/conf/all/proxy_arp", "1");
  write_setting("/proc/sys/net/ipv4/conf/all/send_redirects", "0");
  write_setting("/proc/sys/net/ipv4/conf/default/send_redirects", "0");
  // Otherwise an answer for another machine's address waits up to 0.8 s.
  write_setting("/proc/sys/net/ipv4/neigh/default/proxy_delay", "0");
  // A load balancer's connections to few targets use up ports and tracked connections with the kernel's patience of 120
  // s.
  write_setting("/proc/sys/net/ipv4/ip_local_port_range", "1024 64999");
  write_setting("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_time_wait", "5");
  write_setting("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close_wait", "10");
  write_setting("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_fin_wait", "10");
}

void run_tool(std::vector<std::string> argv, std::string input) {
  host::Command command;
  command.argv = std::move(argv);
  command.input = std::move(input);
  command.timeout = kToolTimeout;
  host::run_checked(command);
}

host::ProcessRef spawn_uplink(const std::string& name, const host::Path& log) {
  host::Daemon daemon;
  daemon.argv = {kUplinkProgram,
                 "--configure",
                 "--mtu=1500",
                 "--disable-host-loopback",
                 "--netns-type=path",
                 namespace_path(name).string(),
                 kUplink};
  daemon.output = log.string();
  return host::spawn_daemon(daemon);
}

}  // namespace

std::vector<Subnet> default_subnets() {
  return {{"172.31.0.0/20", "172.31.0.1"}, {"172.31.16.0/20", "172.31.16.1"}, {"172.31.32.0/20", "172.31.32.1"}};
}

std::string balancer_address(const std::string& gateway) {
  const auto dot = gateway.rfind('.');
  const auto last = dot == std::string::npos ? std::nullopt : parse_int(gateway.substr(dot + 1));
  if (!last || *last >= 254)
    throw Error(ErrorCode::invalid, fmt::format("the gateway \"{}\" is no usable address", gateway));
  return fmt::format("{}.{}", gateway.substr(0, dot), *last + 1);
}

NamespaceNetwork::NamespaceNetwork(NetworkOptions options) : options_(std::move(options)) {}

NamespaceNetwork::~NamespaceNetwork() = default;

std::string NamespaceNetwork::namespace_name() const { return slot_name(options_.slot); }

std::string NamespaceNetwork::loopback_address(int number) const {
  return slot_loopback_address(options_.slot, number);
}

void NamespaceNetwork::open() {
  const std::string name = namespace_name();
  with_context(fmt::format("opening the network {}", name), [&] {
    host::make_folders(options_.folder);
    const bool found = namespace_exists(name);
    make_namespace(name);
    std::string batch =
        fmt::format("address replace {}/32 dev lo\naddress replace {}/32 dev lo\n", kMetadataAddress, kOutsideAddress);
    for (const Subnet& subnet : options_.subnets) {
      batch += fmt::format("address replace {}/32 dev lo\naddress replace {}/32 dev lo\n", subnet.gateway,
                           balancer_address(subnet.gateway));
    }
    // What no machine has must not go out by the default route.
    batch += fmt::format("route replace blackhole {}\nroute replace blackhole 169.254.0.0/16\n", options_.vpc_cidr);
    run_in_namespace(namespace_path(name), [&] {
      settle_kernel();
      run_tool({"ip", "-batch", "-"}, batch);
      // The rules that a dead control plane has left hold until the first `apply`; a new namespace lets nothing
      // through.
      if (!found) run_tool({"nft", "-f", "-"}, ruleset({}));
    });
    if (!forwarder_) forwarder_ = std::make_unique<Forwarder>(namespace_path(name), kOutsideAddress);
    find_uplink();
  });
}

void NamespaceNetwork::find_uplink() {
  std::error_code ignored;
  const host::Path file = options_.folder / "uplink.pid";
  if (!uplink_ && std::filesystem::exists(file, ignored))
    uplink_ = host::ProcessRef::parse(trim(host::read_file(file)));
  if (uplink_ && host::alive(*uplink_)) return;
  uplink_.reset();
  const auto running = running_uplinks();
  if (!running.empty()) uplink_ = running.front();
}

std::vector<host::ProcessRef> NamespaceNetwork::running_uplinks() const {
  const std::string path = namespace_path(namespace_name()).string();
  std::vector<host::ProcessRef> found;
  for (const std::string& entry : host::list_folder("/proc")) {
    const auto pid = parse_int(entry);
    if (!pid) continue;
    std::string text;
    try {
      text = host::read_file("/proc/" + entry + "/cmdline");
    } catch (const Error&) {
      continue;  // it has just ended
    }
    const std::vector<std::string> argv = split(text, '\0');
    if (argv.empty() || host::Path(argv[0]).filename() != kUplinkProgram) continue;
    if (std::find(argv.begin(), argv.end(), path) == argv.end()) continue;
    if (const auto process = host::process_ref(static_cast<pid_t>(*pid))) found.push_back(*process);
  }
  // The first is the oldest: it may have a child that is still at work in the namespace.
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.start_ticks < b.start_ticks; });
  return found;
}

void NamespaceNetwork::close() {
  const std::string name = namespace_name();
  with_context(fmt::format("closing the network {}", name), [&] {
    forwarder_.reset();
    find_uplink();
    if (uplink_) host::end_process(*uplink_, Duration(500));
    for (const host::ProcessRef& process : running_uplinks()) host::end_process(process, Duration(500));
    uplink_.reset();
    std::error_code ignored;
    std::filesystem::remove(options_.folder / "uplink.pid", ignored);
    applied_.clear();
    remove_namespace(name);
    unshare_namespaces();
  });
}

void NamespaceNetwork::start_uplink() {
  if (uplink_ && host::alive(*uplink_)) return;
  find_uplink();
  if (uplink_) return;
  uplink_ = spawn_uplink(namespace_name(), options_.folder / "uplink.log");
  host::write_file(options_.folder / "uplink.pid", uplink_->str() + "\n");
}

void NamespaceNetwork::apply(const std::vector<Port>& ports) {
  KILN_ASSERT(forwarder_ != nullptr, "the network is open");
  with_context(fmt::format("changing the rules of the network {}", namespace_name()), [&] {
    std::string program = ruleset(ports);
    if (program != applied_) {
      run_in_namespace(namespace_path(namespace_name()), [&] { run_tool({"nft", "-f", "-"}, program); });
      applied_ = std::move(program);
    }
    if (std::any_of(ports.begin(), ports.end(), [](const Port& port) { return port.internet; })) start_uplink();
    problems_ = forwarder_->set(forwards(ports));
  });
}

void connect_machine(const std::string& region_namespace, const std::string& machine_namespace, const std::string& id,
                     const Interface& interface) {
  const std::string wire = wire_name(id);
  make_namespace(machine_namespace);
  const std::string gateway = interface.gateway;
  std::error_code ignored;
  bool there = false;
  run_in_namespace(namespace_path(region_namespace), [&] {
    there = std::filesystem::exists("/proc/sys/net/ipv4/conf/" + wire, ignored);
    std::string batch;
    if (!there) {
      batch = fmt::format("link add {} type veth peer name eth0 address {} netns {}\n", wire, interface.mac,
                          machine_namespace);
    }
    batch += fmt::format(
        "link set {0} up\nneighbour replace {1} lladdr {2} nud permanent dev {0}\n"
        "route replace {1}/32 dev {0} src {3}\n",
        wire, interface.address, interface.mac, balancer_address(gateway));
    run_tool({"ip", "-batch", "-"}, batch);
  });
  // No route to the subnet's neighbours but through the gateway: the rules see every packet.
  run_in_namespace(namespace_path(machine_namespace), [&] {
    run_tool({"ip", "-batch", "-"},
             fmt::format("address replace {}/{} dev eth0 noprefixroute\nlink set eth0 up\n"
                         "route replace {} dev eth0 scope link\nroute replace default via {} dev eth0\n",
                         interface.address, interface.prefix, gateway, gateway));
  });
}

void disconnect_machine(const std::string& region_namespace, const std::string& machine_namespace,
                        const std::string& id) {
  const std::string wire = wire_name(id);
  if (namespace_exists(region_namespace)) {
    run_in_namespace(namespace_path(region_namespace), [&] {
      std::error_code ignored;
      // Removing one end removes the other with it.
      if (!std::filesystem::exists("/proc/sys/net/ipv4/conf/" + wire, ignored)) return;
      run_tool({"ip", "link", "delete", wire}, {});
    });
  }
  remove_namespace(machine_namespace);
}

}  // namespace kiln::machine
