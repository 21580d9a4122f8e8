// Haproxy: the real data plane: one HAProxy in master-worker mode, which goes on when we die and is found again.
#include "region/elb/haproxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "region/elb/haproxy_driver.h"

namespace kiln::region::elb {

namespace {

// How soon the death of HAProxy is seen; clients get refused connections until it is up again.
constexpr Duration kWatch{100};
constexpr Duration kRetryFirst{200};
constexpr Duration kRetryMost{30'000};

}  // namespace

struct Haproxy::State : std::enable_shared_from_this<Haproxy::State> {
  State(host::Loop& on, HaproxySite files, std::function<void(const std::string&)> logger)

      : loop(on), site(files), driver(std::move(files)), log(std::move(logger)) {}

  host::Loop& loop;
  const HaproxySite site;
  std::mutex driving;  // held while the driver works
  HaproxyDriver driver;
  std::function<void(const std::string&)> log;
  std::atomic<bool> closed = false;
  bool busy = false;
  BalancerState wanted;
  bool dirty = false;  // `wanted` is not in force yet
  std::vector<Done> waiting;
  std::set<std::pair<std::string, int>> bound;
  std::optional<host::ProcessRef> process;
  Duration retry = kRetryFirst;
  host::TimerId retry_timer = 0;
  host::TimerId watch_timer = 0;

  void work_if_needed() {
    if (busy || closed || !dirty) return;
    busy = true;
    dirty = false;
    loop.cancel(std::exchange(retry_timer, 0));
    auto target = std::make_shared<BalancerState>(wanted);
    for (const ListenerState& listener : target->listeners) bound.insert({listener.address, listener.port});
    auto callers = std::make_shared<std::vector<Done>>(std::exchange(waiting, {}));
    auto self = shared_from_this();
    loop.offload(
        [self, target] {
          std::lock_guard lock(self->driving);
          if (!self->closed) self->driver.bring_to(*target);
        },
        [self, target, callers](std::exception_ptr failure) { self->finished(*target, *callers, failure); });
  }

  void finished(const BalancerState& target, const std::vector<Done>& callers, std::exception_ptr failure) {
    busy = false;
    if (closed) return;
    const std::optional<host::ProcessRef> before = process;
    {
      std::lock_guard lock(driving);
      process = driver.process();
    }
    if (process && process != before) log(fmt::format("the load balancers' HAProxy runs as process {}", process->pid));
    if (failure) {
      explain(failure);
      if (!dirty) try_again();
    } else {
      retry = kRetryFirst;
      bound.clear();
      for (const ListenerState& listener : target.listeners) bound.insert({listener.address, listener.port});
    }
    watch();
    for (const Done& done : callers) done(failure);
    if (retry_timer == 0) work_if_needed();
  }

  void explain(std::exception_ptr failure) {
    try {
      std::rethrow_exception(failure);
    } catch (const std::exception& error) {
      log(fmt::format("the load balancers' HAProxy: {}; trying again in {}", error.what(), format_duration(retry)));
    }
  }

  // Without end, but ever slower: a region whose data plane is not as wanted has nothing better to do.
  void try_again() {
    dirty = true;
    retry_timer = loop.after(retry, [self = shared_from_this()] {
      self->retry_timer = 0;
      self->work_if_needed();
    });
    retry = std::min(retry * 2, kRetryMost);
  }

  void watch() {
    if (watch_timer != 0 || closed) return;
    watch_timer = loop.after(kWatch, [self = shared_from_this()] {
      self->watch_timer = 0;
      if (self->closed) return;
      if (!self->busy && self->process && !host::alive(*self->process)) {
        self->log(
            fmt::format("the load balancers' HAProxy (process {}) has died; starting it again", self->process->pid));
        self->process.reset();
        self->dirty = true;
        self->work_if_needed();
      }
      self->watch();
    });
  }
};

Haproxy::Haproxy(host::Loop& loop, HaproxySite site, std::function<void(const std::string&)> log)
    : state_(std::make_shared<State>(loop, std::move(site), std::move(log))) {}

Haproxy::~Haproxy() { state_->closed = true; }

void Haproxy::check_free(const std::string& address, int port) {
  // What HAProxy holds already, or is about to let go, is ours.
  if (state_->bound.contains({address, port})) return;
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_port = htons(static_cast<std::uint16_t>(port));
  if (inet_pton(AF_INET, address.c_str(), &where.sin_addr) != 1) {
    throw Error(ErrorCode::invalid, fmt::format("'{}' is not an IPv4 address", address));
  }
  host::FileDescriptor fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&where), sizeof where) != 0 || listen(fd.get(), 1) != 0) {
    throw Error(errno == EACCES ? ErrorCode::denied : ErrorCode::held,
                fmt::format("cannot listen on {}:{}: {}", address, port, std::strerror(errno)),
                fmt::format("See who holds it with `ss -ltnp 'sport = :{}'`, or choose another port.", port));
  }
}

void Haproxy::apply(BalancerState state, Done done) {
  state_->wanted = std::move(state);
  state_->dirty = true;
  state_->waiting.push_back(std::move(done));
  state_->work_if_needed();
}

void Haproxy::close() {
  state_->closed = true;
  state_->loop.cancel(state_->watch_timer);
  state_->loop.cancel(state_->retry_timer);
  std::lock_guard lock(state_->driving);
  state_->driver.end();
}

}  // namespace kiln::region::elb
