// NamespaceNetwork: see netns.h.
#include "machine/netns.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <system_error>
#include <utility>

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

// On a thread inside a VPC's namespace.
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
                 fmt::format("--cidr={}", kUplinkCidr),
                 "--netns-type=path",
                 namespace_path(name).string(),
                 kUplink};
  daemon.output = log.string();
  return host::spawn_daemon(daemon);
}

// On a thread inside a VPC's namespace: the addresses that a process before us has given it.
std::set<std::string> present_addresses() {
  std::set<std::string> addresses;
  for (const std::string& line :
       split(host::run_checked({"ip", "-4", "-o", "address", "show", "dev", "lo", "scope", "global"}).out, '\n')) {
    const auto at = line.find("inet ");
    if (at != std::string::npos) addresses.insert(line.substr(at + 5, line.find('/', at) - at - 5));
  }
  return addresses;
}

std::set<std::string> wanted_addresses(const Vpc& vpc) {
  std::set<std::string> addresses = {kMetadataAddress, kOutsideAddress};
  for (const Subnet& subnet : vpc.subnets) addresses.insert({subnet.gateway, balancer_address(subnet.gateway)});
  return addresses;
}

}  // namespace

std::string balancer_address(const std::string& gateway) {
  const auto dot = gateway.rfind('.');
  const auto last = dot == std::string::npos ? std::nullopt : parse_int(gateway.substr(dot + 1));
  if (!last || *last >= 254)
    throw Error(ErrorCode::invalid, fmt::format("the gateway \"{}\" is no usable address", gateway));
  return fmt::format("{}.{}", gateway.substr(0, dot), *last + 1);
}

NamespaceNetwork::NamespaceNetwork(NetworkOptions options) : options_(std::move(options)) {}

NamespaceNetwork::~NamespaceNetwork() = default;

std::string NamespaceNetwork::name_of(const std::string& vpc) const { return vpc_namespaces(options_.slot) + vpc; }

std::string NamespaceNetwork::loopback_address(int number) const {
  return slot_loopback_address(options_.slot, number);
}

std::vector<std::string> NamespaceNetwork::made() const {
  std::vector<std::string> ids;
  for (const auto& [id, vpc] : made_) ids.push_back(id);
  return ids;
}

void NamespaceNetwork::on_change(std::function<void(const std::string& vpc, bool there)> listener) {
  listener_ = std::move(listener);
}

void NamespaceNetwork::open() {
  host::make_folders(options_.folder);
  for (const std::string& name : namespaces_with_prefix(vpc_namespaces(options_.slot) + "vpc-")) {
    made_[name.substr(vpc_namespaces(options_.slot).size())];
  }
  for (const auto& [vpc, processes] : running_uplinks()) {
    if (made_.contains(vpc)) made_[vpc].uplink = processes.front();
  }
  forwarder_ = std::make_unique<Forwarder>(kOutsideAddress);
}

std::map<std::string, std::vector<host::ProcessRef>> NamespaceNetwork::running_uplinks() const {
  const std::string prefix = namespace_path(vpc_namespaces(options_.slot)).string();
  std::map<std::string, std::vector<host::ProcessRef>> found;
  for (const auto& [process, argv] : host::processes()) {
    if (host::Path(argv.front()).filename() != kUplinkProgram) continue;
    for (const std::string& argument : argv) {
      if (argument.starts_with(prefix)) found[argument.substr(prefix.size())].push_back(process);
    }
  }
  for (auto& [vpc, processes] : found) {
    std::sort(processes.begin(), processes.end(),
              [](const auto& a, const auto& b) { return a.start_ticks < b.start_ticks; });
  }
  return found;
}

void NamespaceNetwork::close() {
  with_context(fmt::format("closing the network {}", slot_name(options_.slot)), [&] {
    forwarder_.reset();
    for (const auto& [vpc, processes] : running_uplinks()) {
      for (const host::ProcessRef& process : processes) host::end_process(process, Duration(500));
    }
    for (const std::string& name : namespaces_with_prefix(vpc_namespaces(options_.slot) + "vpc-"))
      remove_namespace(name);
    made_.clear();
    unshare_namespaces();
  });
}

void NamespaceNetwork::apply(const std::vector<Vpc>& vpcs) {
  KILN_ASSERT(forwarder_ != nullptr, "the network is open");
  std::exception_ptr failure;
  const auto attempt = [&](const std::string& vpc, const char* what, auto&& act) {
    try {
      with_context(fmt::format("{} the network {}", what, name_of(vpc)), act);
    } catch (const Error&) {
      if (!failure) failure = std::current_exception();
    }
  };
  std::set<std::string> wanted;
  for (const Vpc& vpc : vpcs) {
    wanted.insert(vpc.id);
    if (!vpc.needed && vpc.ports.empty() && !made_.contains(vpc.id)) continue;
    attempt(vpc.id, "changing", [&] { bring_to(vpc); });
  }
  for (const std::string& vpc : made()) {
    if (!wanted.contains(vpc)) attempt(vpc, "removing", [&] { remove(vpc); });
  }
  problems_ = forwarder_->set(forwards(vpcs, options_.slot));
  if (failure) std::rethrow_exception(failure);
}

void NamespaceNetwork::bring_to(const Vpc& vpc) {
  Made& made = made_[vpc.id];
  settle(vpc, made);
  std::string program = ruleset(vpc.ports);
  if (program != made.rules) {
    run_in_namespace(namespace_path(name_of(vpc.id)), [&] { run_tool({"nft", "-f", "-"}, program); });
    made.rules = std::move(program);
  }
  if (std::any_of(vpc.ports.begin(), vpc.ports.end(), [](const Port& port) { return port.internet; }))
    start_uplink(vpc.id, made);
}

void NamespaceNetwork::settle(const Vpc& vpc, Made& made) {
  const std::set<std::string> wanted = wanted_addresses(vpc);
  if (made.settled && made.addresses == wanted) return;
  const std::string name = name_of(vpc.id);
  const bool found = namespace_exists(name);
  make_namespace(name);
  run_in_namespace(namespace_path(name), [&] {
    if (!made.settled) {
      settle_kernel();
      // The rules that a dead control plane has left hold until ours; a new namespace lets nothing through.
      if (!found) run_tool({"nft", "-f", "-"}, ruleset({}));
      made.addresses = present_addresses();
    }
    std::string batch;
    for (const std::string& address : made.addresses) {
      if (!wanted.contains(address)) batch += fmt::format("address delete {}/32 dev lo\n", address);
    }
    for (const std::string& address : wanted) batch += fmt::format("address replace {}/32 dev lo\n", address);
    // What no machine has must not go out by the default route.
    batch += fmt::format("route replace blackhole {}\nroute replace blackhole 169.254.0.0/16\n", vpc.cidr);
    run_tool({"ip", "-batch", "-"}, batch);
  });
  made.addresses = wanted;
  if (!std::exchange(made.settled, true) && listener_) listener_(vpc.id, true);
}

void NamespaceNetwork::start_uplink(const std::string& vpc, Made& made) {
  if (made.uplink && host::alive(*made.uplink)) return;
  made.uplink = spawn_uplink(name_of(vpc), options_.folder / "uplink.log");
}

void NamespaceNetwork::remove(const std::string& vpc) {
  if (made_.at(vpc).settled && listener_) listener_(vpc, false);
  if (const auto uplink = made_.at(vpc).uplink) host::end_process(*uplink, Duration(500));
  remove_namespace(name_of(vpc));
  made_.erase(vpc);
}

host::FileDescriptor NamespaceNetwork::listen(const std::string& vpc, const std::string& address, int port) {
  if (!made_.contains(vpc)) throw Error(ErrorCode::not_found, fmt::format("the VPC {} has no network", vpc));
  host::FileDescriptor listener;
  run_in_namespace(namespace_path(name_of(vpc)), [&] {
    sockaddr_in here{};
    here.sin_family = AF_INET;
    here.sin_port = htons(static_cast<std::uint16_t>(port));
    listener = host::FileDescriptor(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const int on = 1;
    ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (::inet_pton(AF_INET, address.c_str(), &here.sin_addr) != 1 ||
        ::bind(listener.get(), reinterpret_cast<const sockaddr*>(&here), sizeof here) != 0 ||
        ::listen(listener.get(), 128) != 0) {
      throw Error(ErrorCode::io,
                  fmt::format("cannot listen on {}:{} in {}: {}", address, port, name_of(vpc), std::strerror(errno)));
    }
  });
  return listener;
}

void connect_machine(const std::string& vpc_namespace, const std::string& machine_namespace, const std::string& id,
                     const Interface& interface) {
  const std::string wire = wire_name(id);
  make_namespace(machine_namespace);
  const std::string gateway = interface.gateway;
  std::error_code ignored;
  bool there = false;
  run_in_namespace(namespace_path(vpc_namespace), [&] {
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

void disconnect_machine(const std::string& machine_namespace) {
  if (!namespace_exists(machine_namespace)) return;
  run_in_namespace(namespace_path(machine_namespace), [&] {
    std::error_code ignored;
    // Removing one end removes the other with it.
    if (!std::filesystem::exists("/proc/sys/net/ipv4/conf/eth0", ignored)) return;
    run_tool({"ip", "link", "delete", "eth0"}, {});
  });
  remove_namespace(machine_namespace);
}

}  // namespace kiln::machine
