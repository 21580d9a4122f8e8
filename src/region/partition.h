// Partition: what one control plane is: every account and every AWS region, each with a state of its own, over one
// journal, one host's machines and network and one balancer, behind one front door.
//
// A caller's account is its key's, the AWS region is the one that its signature names. A region is made when somebody
// first calls it. The first one, "home", keeps its tables without a prefix.
#pragma once

#include <functional>
#include <iostream>
#include <memory>
#include <string>

#include "host/loop.h"
#include "host/random.h"
#include "http/message.h"
#include "machine/machine.h"
#include "machine/network.h"
#include "region/ec2/base_images.h"
#include "region/elb/balancer.h"
#include "region/elb/prober.h"
#include "region/front/request_log.h"
#include "region/handlers.h"
#include "region/journal.h"
#include "store/store.h"

namespace kiln::region {

struct PartitionOptions {
  std::string home = "us-east-1";
  std::string account = "123456789012";  // home's, and the one of the key
  std::string access_key;
  std::string secret_key;
  std::string root_seed{};      // of the root keys of other accounts; empty: they have none
  std::string parameter_key{};  // 32 bytes: what Parameter Store's secret values are sealed with
  bool throttle = false;        // calls beyond AWS's rates are refused
  Duration describe_delay{0};   // EC2's describe calls see what was so that long ago
};

// What it stands on; all must outlive it.
struct PartitionParts {
  host::Loop& loop;
  host::Random& random;
  Journal& journal;
  const store::Store& store;
  machine::Machines& machines;
  machine::Network& network;
  elb::Balancer& balancer;
  elb::Prober& prober;
  RequestLog& log;
  ec2::BaseImages* base_images = nullptr;  // null: no public images
  // Takes what goes wrong and is tried again, a line each; the control plane's stderr is its log.
  std::function<void(const std::string& line)> say = [](const std::string& line) { std::cerr << line << std::endl; };
  // Takes what happened, a line each (Events).
  std::function<void(const std::string& line)> tell = [](const std::string&) {};
};

class Partition {
 public:
  Partition(const PartitionParts& parts, const PartitionOptions& options);
  // The network must be open already. On the loop's thread.
  void open();
  ~Partition();

  // From any thread; answers once, after the journal has what the call changed.
  void handle(http::Request request, std::function<void(http::Response)> answer);

  // What is served; the same in all regions.
  const Handlers& handlers() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kiln::region
