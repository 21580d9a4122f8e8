// Region: an AWS region as an object: its services over one journal, behind one front door.
//
// It lives on its loop and knows machines, network, balancer and prober only by their interfaces: with the real ones it
// runs instances, with the simulated ones a whole fleet in virtual time. It may go at any moment; another one on the
// same journal and the same machines goes on.
#pragma once

#include <functional>
#include <iostream>
#include <memory>
#include <string>

#include "host/file.h"
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

struct RegionOptions {
  std::string aws_region = "us-east-1";
  std::string account = "123456789012";
  std::string access_key;
  std::string secret_key;
};

// What a region stands on; all must outlive it.
struct RegionParts {
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
};

class Region {
 public:
  Region(const RegionParts& parts, RegionOptions options);
  // The network must be open already. On the loop's thread.
  void open();
  ~Region();

  // From any thread; answers once, after the journal has what the call changed.
  void handle(http::Request request, std::function<void(http::Response)> answer);

  // Serves instances' metadata on a socket that listens at 169.254.169.254 inside the network. On the loop's thread,
  // after `open`.
  void serve_metadata(host::FileDescriptor listener);

  const Handlers& handlers() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kiln::region
