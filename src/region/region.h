// Region: all services of one account in one AWS region.
//
// It lives on the loop, and knows machines, network, balancer and prober only by their interfaces: with the real ones
// it runs instances, with the simulated ones a whole fleet in virtual time. It may go at any moment; another one on the
// same tables and the same machines goes on.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "host/file.h"
#include "host/loop.h"
#include "host/random.h"
#include "machine/machine.h"
#include "machine/network.h"
#include "region/ec2/base_images.h"
#include "region/elb/balancer.h"
#include "region/elb/prober.h"
#include "region/handlers.h"
#include "region/iam/iam.h"
#include "region/journal.h"
#include "region/loopback_pool.h"
#include "region/sts/handlers.h"
#include "store/store.h"

namespace kiln::region {

namespace ec2 {
class Ec2;
struct Image;
}  // namespace ec2

// What it stands on; all must outlive it.
struct RegionParts {
  host::Loop& loop;
  host::Random& random;
  Tables& tables;  // its own
  const store::Store& store;
  machine::Machines& machines;
  machine::Network& network;
  elb::Balancer& balancer;
  elb::Prober& prober;
  LoopbackPool& addresses;
  iam::Iam& iam;  // its account's
  const iam::Keyring& keyring;
  sts::IamOf iam_of;                                 // other accounts'
  ec2::BaseImages* base_images;                      // null: no public images
  std::function<void(const std::string& line)> say;  // what goes wrong and is tried again
  std::string parameter_key;                         // 32 bytes: what Parameter Store's secret values are sealed with
  Duration describe_delay{0};                        // EC2's describe calls see what was so that long ago
};

class Region {
 public:
  Region(const RegionParts& parts, const std::string& account, const std::string& name);
  ~Region();

  // The beginning, in this order (see ec2::Ec2). The data plane is told in `load`, the network in `connect`.
  void load();
  std::vector<machine::Spec> machines() const;
  std::vector<std::string> host_volumes() const;  // those that the machines' host shall keep
  void connect();
  void resume(const std::vector<std::string>& alive);

  void machine_ended(const machine::Exit& exit);
  // The network of a VPC has come or goes; of ours or of others. `listen_in` makes the socket that its metadata is
  // served on.
  using ListenIn = std::function<host::FileDescriptor(const std::string& vpc)>;
  void network_changed(const std::string& vpc, bool there, const ListenIn& listen_in);
  const Handlers& handlers() const;

  // What EC2 shows to other accounts and regions, and what it sees of them. Before `load`.
  const ec2::Ec2& ec2() const;
  void look_at(const std::function<std::vector<const ec2::Image*>()>& shared_images,
               const std::function<const ec2::Ec2*(const std::string& region)>& own_regions);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kiln::region
