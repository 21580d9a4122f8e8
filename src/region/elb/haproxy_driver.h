// HaproxyDriver: brings the HAProxy process to a wanted state, step by step. Blocks; one caller at a time, off the
// loop.
#pragma once

#include <optional>
#include <string>

#include "host/process.h"
#include "region/elb/haproxy_config.h"

namespace kiln::region::elb {

class HaproxyDriver {
 public:
  explicit HaproxyDriver(HaproxySite site) : site_(std::move(site)) {}

  // Starts, adopts, reloads or tells the running HAProxy, whichever is least. Throws Error; then the next call looks at
  // the real state again before it does anything.
  void bring_to(const BalancerState& wanted);
  // SIGTERM to the master, which ends its workers; SIGKILL after a grace.
  void end();
  // The master that runs, as far as known; nothing is wanted yet: empty.
  const std::optional<host::ProcessRef>& process() const { return process_; }

 private:
  struct Running {
    int generation = 0;
    std::string shape;
  };
  std::optional<host::ProcessRef> find_process() const;
  std::optional<Running> running() const;
  void look();
  void write_files(const BalancerState& wanted, const SlotTable& slots);
  void start(const BalancerState& wanted, const SlotTable& slots);
  void reload(const BalancerState& wanted, const SlotTable& slots);
  void wait_for_generation();
  std::string ask_master(std::string_view command) const;
  void tell(const BalancerState& wanted, const SlotTable& slots);
  void remember() const;
  void forget() const;

  HaproxySite site_;
  std::optional<host::ProcessRef> process_;
  int generation_ = 0;
  std::string shape_;
  SlotTable slots_;
  std::string routes_;
  bool certain_ = false;  // what we believe of HAProxy is what it last said
};

}  // namespace kiln::region::elb
