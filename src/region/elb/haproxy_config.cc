// HAProxy config: what HAProxy must be told, as text.
#include "region/elb/haproxy_config.h"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "base/digest.h"
#include "base/error.h"
#include "base/text.h"

namespace kiln::region::elb {

namespace {

constexpr std::size_t kFirstSlots = 8;
// A free slot's address: TEST-NET-1 (RFC 5737), which nothing answers.
constexpr std::string_view kNowhere = "192.0.2.1";

std::string_view error_page(int status) {
  switch (status) {
    case 400:
      return "400 Bad Request";
    case 408:
      return "408 Request Time-out";
    case 502:
      return "502 Bad Gateway";
    case 503:
      return "503 Service Temporarily Unavailable";
    default:
      return "504 Gateway Time-out";
  }
}

// `line_break` is CR LF itself, or its escape in HAProxy's file.
std::string error_body(int status, std::string_view line_break) {
  return fmt::format(
      "<html>{1}<head><title>{0}</title></head>{1}<body>{1}<center><h1>{0}</h1></center>{1}</body>{1}</html>{1}",
      error_page(status), line_break);
}

std::string error_reply(int status) {
  return fmt::format(R"(status {} content-type text/html hdr Server awselb/2.0 string "{}")", status,
                     error_body(status, "\\r\\n"));
}

std::string relay_name(const ListenerState& listener) { return "kiln-relay-" + listener.key; }

// Quoted as HAProxy's file takes it.
std::string quoted(const std::string& text) { return "\"" + text + "\""; }

void render_global(std::string& out, const HaproxySite& site, std::string_view shape, int generation) {
  out += fmt::format(R"(# Written by Kiln for one region; what is changed by hand is lost.
global
  description kiln {} {}
  stats socket {} mode 600 level admin expose-fd listeners
  nbthread 2
  maxconn 8192
  hard-stop-after 15m

)",
                     generation, shape, quoted("unix@" + site.admin_socket().string()));
}

// Timeouts: ALB's idle timeout is 60 s by default and its connect timeout 10 s; here a connect is tried up to three
// times.
void render_defaults(std::string& out) {
  out += R"(defaults
  mode http
  option http-server-close
  option idle-close-on-response
  option redispatch 1
  retries 2
  retry-on conn-failure
  timeout connect 3s
  timeout client 60s
  timeout server 60s
  timeout http-keep-alive 60s
  timeout http-request 60s
  timeout queue 10s
)";
  for (int status : {400, 408, 502, 503, 504}) out += fmt::format("  http-error {}\n", error_reply(status));
}

void render_headers(std::string& out, const ListenerState& listener) {
  // A relayed request was given its headers by the worker that relayed it.
  std::string here = fmt::format("!{{ src {} }}", listener.address);
  std::string random = "%[rand,hex,bytes(8,8),lower]";
  std::string id = "1-%[date,hex,bytes(8,8),lower]-" + random + random + random;
  out += fmt::format(R"(  http-request set-var(txn.traced) req.fhdr(X-Amzn-Trace-Id)
  http-request set-header X-Amzn-Trace-Id "Root={0}" if {1} !{{ var(txn.traced) -m found }}
  http-request set-header X-Amzn-Trace-Id "Self={0};%[var(txn.traced)]" if {1} {{ var(txn.traced) -m found }}
  http-request set-var(txn.forwarded) req.fhdr(X-Forwarded-For)
  http-request set-header X-Forwarded-For "%[src]" if {1} !{{ var(txn.forwarded) -m found }}
  http-request set-header X-Forwarded-For "%[var(txn.forwarded)], %[src]" if {1} {{ var(txn.forwarded) -m found }}
  http-request set-header X-Forwarded-Proto http if {1}
  http-request set-header X-Forwarded-Port {2} if {1}
)",
                     id, here, listener.port);
}

void render_frontend(std::string& out, const HaproxySite& site, const ListenerState& listener) {
  std::string map = quoted(site.routes().string());
  out += fmt::format("\nfrontend {}\n  bind {}:{}\n  timeout client {}s\n  timeout http-keep-alive {}s\n", listener.key,
                     listener.address, listener.port, listener.idle_seconds, listener.idle_seconds);
  render_headers(out, listener);
  out += fmt::format(R"(  http-request set-var(txn.total) str({0}/total),map_str({1},1),add(0)
  http-request set-var(txn.pick) rand(4294967295),mod(txn.total)
  http-request set-var(txn.group) str({0}/),concat(,txn.pick),map_str({1},kiln-none)
)",
                     listener.key, map);
  if (listener.sticky) {
    out += fmt::format(R"(  http-request set-var(txn.held) req.cook(AWSALBTG)
  http-request set-var(txn.kept) str({0}),concat(~,txn.held),map_str({1})
  http-request set-var(txn.group) var(txn.kept) if {{ var(txn.kept) -m found }}
  http-response add-header Set-Cookie "AWSALBTG=%[var(txn.group)]; Expires=%[date({2}),http_date]; Path=/")"
                       " if !{{ stopping }}\n",
                       listener.key, map, listener.sticky_seconds);
  }
  // A worker that is stopping no longer hears of changes, and HAProxy has closed its way into namespaces; what still
  // comes over its idle connections is handed to the worker that follows it, which listens on the same address.
  out += fmt::format("  use_backend {} if {{ stopping }}\n", relay_name(listener));
  out += "  use_backend %[var(txn.group)]\n  default_backend kiln-none\n";
}

std::string server_options(const HaproxySite& site, const GroupState& group) {
  return site.namespaces.empty() ? "" : " namespace " + site.namespaces + group.vpc;
}

void render_backend(std::string& out, const HaproxySite& site, const GroupState& group,
                    const std::vector<Slot>& slots) {
  out += fmt::format(
      "\nbackend {}\n  balance {}\n  timeout server {}s\n  http-request return {} if {{ nbsrv eq 0 }}\n  errorfile 503 "
      "{}\n",
      group.key, group.least_outstanding ? "leastconn" : "roundrobin", group.idle_seconds, error_reply(503),
      quoted(site.bad_gateway().string()));
  if (group.sticky) {
    out += fmt::format("  cookie AWSALB insert dynamic maxidle {}\n  dynamic-cookie-key {}\n", group.sticky_seconds,
                       group.key);
  }
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const Slot& slot = slots[i];
    bool free = slot.address.empty();
    out += fmt::format("  server s{} {}:{}{} weight {}{}\n", i + 1, free ? kNowhere : slot.address,
                       free ? 1 : slot.port, server_options(site, group), slot.weight, slot.open ? "" : " disabled");
  }
}

std::string render(const HaproxySite& site, const BalancerState& state, const SlotTable& slots, std::string_view shape,
                   int generation) {
  std::string out;
  render_global(out, site, shape, generation);
  render_defaults(out);
  for (const ListenerState& listener : state.listeners) render_frontend(out, site, listener);
  out += fmt::format("\nbackend kiln-none\n  http-request return {}\n", error_reply(503));
  for (const ListenerState& listener : state.listeners) {
    out += fmt::format("\nbackend {0}\n  server relay {1}:{2} source {1}\n", relay_name(listener), listener.address,
                       listener.port);
  }
  for (const GroupState& group : state.groups) {
    auto found = slots.find(group.key);
    KILN_ASSERT(found != slots.end(), "every group of the state was given slots");
    render_backend(out, site, group, found->second);
  }
  return out;
}

const ServerState* find_server(const GroupState& group, const Slot& slot) {
  for (const ServerState& server : group.servers) {
    if (server.address == slot.address && server.port == slot.port) return &server;
  }
  return nullptr;
}

Slot slot_for(const ServerState& server) {
  return {server.address, server.port, server.mode == ServerMode::accepting, std::clamp(server.share_percent, 1, 100)};
}

std::vector<Slot> place_group(const GroupState& group, const std::vector<Slot>& present) {
  std::vector<Slot> slots(std::max(present.size(), kFirstSlots));
  std::vector<std::size_t> free;
  std::vector<const ServerState*> kept;
  for (std::size_t i = 0; i < slots.size(); ++i) {
    if (i >= present.size() || present[i].address.empty()) {
      free.push_back(i);
    } else if (const ServerState* server = find_server(group, present[i])) {
      if (std::find(kept.begin(), kept.end(), server) != kept.end()) continue;
      slots[i] = slot_for(*server);
      kept.push_back(server);
    }
  }
  auto next = free.begin();
  for (const ServerState& server : group.servers) {
    if (std::find(kept.begin(), kept.end(), &server) != kept.end()) continue;
    if (next == free.end()) {
      std::size_t size = slots.size();
      slots.resize(size * 2);
      free.resize(size);
      std::iota(free.begin(), free.end(), size);
      next = free.begin();
    }
    slots[*next++] = slot_for(server);
  }
  return slots;
}

}  // namespace

SlotTable place(const BalancerState& wanted, const SlotTable& present) {
  SlotTable table;
  for (const GroupState& group : wanted.groups) {
    auto found = present.find(group.key);
    table[group.key] = place_group(group, found == present.end() ? std::vector<Slot>{} : found->second);
  }
  return table;
}

std::string shape_of(const HaproxySite& site, const BalancerState& state, const SlotTable& slots) {
  SlotTable empty;
  for (const auto& [group, servers] : slots) empty[group].resize(servers.size());
  return sha256(render(site, state, empty, "", 0)).short_str();
}

std::string render_config(const HaproxySite& site, const BalancerState& state, const SlotTable& slots, int generation) {
  return render(site, state, slots, shape_of(site, state, slots), generation);
}

std::string render_routes(const BalancerState& state) {
  std::string out;
  for (const ListenerState& listener : state.listeners) {
    int divisor = 0;
    for (const RouteState& route : listener.routes) divisor = std::gcd(divisor, route.weight);
    int next = 0;
    for (const RouteState& route : listener.routes) {
      if (listener.sticky) out += fmt::format("{}~{} {}\n", listener.key, route.group, route.group);
      for (int i = 0; divisor > 0 && i < route.weight / divisor; ++i) {
        out += fmt::format("{}/{} {}\n", listener.key, next++, route.group);
      }
    }
    // Without any weight nothing is found at 0, and the answer is 503.
    out += fmt::format("{}/total {}\n", listener.key, std::max(next, 1));
  }
  return out;
}

std::string render_bad_gateway() {
  std::string body = error_body(502, "\r\n");
  return fmt::format("HTTP/1.1 {}\r\nServer: awselb/2.0\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{}",
                     error_page(502), body.size(), body);
}

Changes changes(const SlotTable& from, const SlotTable& to) {
  Changes result;
  std::vector<std::string>& opening = result.opening;
  std::vector<std::string>& closing = result.closing;
  for (const auto& [group, slots] : to) {
    auto before = from.find(group);
    for (std::size_t i = 0; i < slots.size(); ++i) {
      Slot old = before != from.end() && i < before->second.size() ? before->second[i] : Slot{};
      const Slot& slot = slots[i];
      if (old == slot) continue;
      std::string server = fmt::format("{}/s{}", group, i + 1);
      if (slot.address.empty()) {
        // Its time is over: connections that it still has are closed, as ALB does after the deregistration delay.
        if (old.open) closing.push_back(fmt::format("set server {} state maint", server));
        closing.push_back(fmt::format("shutdown sessions server {}", server));
        continue;
      }
      bool moved = old.address != slot.address || old.port != slot.port;
      if (moved) opening.push_back(fmt::format("set server {} addr {} port {}", server, slot.address, slot.port));
      if (moved || old.weight != slot.weight) {
        opening.push_back(fmt::format("set server {} weight {}", server, slot.weight));
      }
      if (slot.open && !old.open) opening.push_back(fmt::format("set server {} state ready", server));
      // "maint", not "drain": a drained server would still get the requests of clients that hold its cookie.
      if (!slot.open && old.open) closing.push_back(fmt::format("set server {} state maint", server));
    }
  }
  return result;
}

SlotTable parse_servers_state(std::string_view text) {
  SlotTable table;
  for (const std::string& line : split(text, '\n')) {
    std::vector<std::string> fields = split(line, ' ');
    // be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight ... srv_port (field 18)
    if (fields.size() < 19 || fields[0].empty() || fields[0][0] == '#') continue;
    auto number = parse_int(fields[3].substr(std::min<std::size_t>(1, fields[3].size())));
    if (fields[3].empty() || fields[3][0] != 's' || !number || *number < 1 || *number > 65'536) continue;
    std::vector<Slot>& slots = table[fields[1]];
    if (slots.size() < static_cast<std::size_t>(*number)) slots.resize(static_cast<std::size_t>(*number));
    Slot& slot = slots[static_cast<std::size_t>(*number) - 1];
    if (fields[4] == kNowhere) continue;
    slot.address = fields[4];
    slot.port = static_cast<int>(parse_int(fields[18]).value_or(0));
    // Bits 0x01 forced maintenance, 0x08 forced drain; 0x04 only remembers that the file said "disabled".
    slot.open = (parse_int(fields[6]).value_or(1) & 0x09) == 0;
    slot.weight = static_cast<int>(parse_int(fields[7]).value_or(100));
  }
  return table;
}

bool same_traffic(const SlotTable& one, const SlotTable& other) {
  auto open_slots = [](const SlotTable& table) {
    SlotTable open;
    for (const auto& [group, slots] : table) {
      for (const Slot& slot : slots) open[group].push_back(slot.open ? slot : Slot{});
    }
    return open;
  };
  return open_slots(one) == open_slots(other);
}

}  // namespace kiln::region::elb
