// Region: the services, and the few lines by which they know of each other.
#include "region/region.h"

#include "region/autoscaling/adapters.h"
#include "region/autoscaling/autoscaling.h"
#include "region/autoscaling/handlers.h"
#include "region/ec2/ec2.h"
#include "region/ec2/handlers.h"
#include "region/ec2/placements.h"
#include "region/elb/elb.h"
#include "region/elb/handlers.h"
#include "region/front/front_door.h"
#include "region/imds/imds.h"
#include "region/sts/handlers.h"
#include "wire/shape.h"

namespace kiln::region {
namespace {

// What load balancing sees of EC2.
class Ec2Eyes final : public elb::Ec2View {
 public:
  explicit Ec2Eyes(const ec2::Ec2& ec2) : ec2_(ec2) {}

  std::optional<elb::InstanceView> instance(const std::string& id) const override {
    const ec2::Instance* found = ec2_.find_instance(id);
    if (found == nullptr) return std::nullopt;
    return elb::InstanceView{ec2_.vpc().id, found->zone, found->private_address, phase_of(found->state)};
  }
  std::optional<elb::SubnetView> subnet(const std::string& id) const override {
    const ec2::Subnet* found = ec2_.find_subnet(id);
    if (found == nullptr) return std::nullopt;
    return elb::SubnetView{ec2_.vpc().id, found->zone};
  }
  bool vpc_exists(const std::string& id) const override { return id == ec2_.vpc().id; }
  std::optional<std::string> security_group_vpc(const std::string& id) const override {
    auto it = ec2_.security_groups().find(id);
    if (it == ec2_.security_groups().end()) return std::nullopt;
    return it->second.vpc_id;
  }
  std::string default_security_group(const std::string&) const override { return ec2_.default_security_group_id(); }

 private:
  static elb::InstancePhase phase_of(ec2::InstanceState state) {
    switch (state) {
      case ec2::InstanceState::pending:
        return elb::InstancePhase::pending;
      case ec2::InstanceState::running:
        return elb::InstancePhase::running;
      case ec2::InstanceState::stopping:
        return elb::InstancePhase::stopping;
      case ec2::InstanceState::stopped:
        return elb::InstancePhase::stopped;
      case ec2::InstanceState::shutting_down:
        return elb::InstancePhase::shutting_down;
      case ec2::InstanceState::terminated:
        return elb::InstancePhase::terminated;
    }
    return elb::InstancePhase::terminated;
  }
  const ec2::Ec2& ec2_;
};

}  // namespace

struct Region::State {
  State(const RegionParts& parts, const RegionOptions& options)
      : placements(parts.store),
        ec2(parts.loop, parts.random, parts.journal, parts.machines, parts.network, placements,
            ec2_options(parts, options)),
        imds(parts.loop, parts.random, parts.journal, ec2),
        eyes(ec2),
        elb(parts.loop, parts.random, parts.journal, eyes, parts.balancer, parts.prober, elb_options(parts, options)),
        records(parts.journal),
        instances(ec2),
        targets(elb),
        autoscaling(parts.loop, parts.random, records, instances, targets, {options.aws_region, options.account}),
        door(parts.loop, parts.random, parts.journal, handlers, parts.log,
             {options.account, options.access_key, options.secret_key}, options.aws_region) {
    ec2::serve(handlers, ec2);
    elb::serve(handlers, elb);
    autoscaling::serve(handlers, autoscaling);
    sts::serve(handlers);
    // Rules that name a load balancer's security group let the balancer's own addresses in.
    ec2.set_balancer_groups([this](const std::string& group) { return elb.uses_security_group(group); });
    elb.on_load_balancer_change([this] { ec2.network_changed(); });
    ec2.on_instance_change(
        [this](const ec2::Instance& instance, ec2::InstanceState) { elb.instance_changed(instance.id); });
  }

  static ec2::Options ec2_options(const RegionParts& parts, const RegionOptions& options) {
    ec2::Options out;
    out.region = options.aws_region;
    out.account = options.account;
    out.say = parts.say;
    out.base_images = parts.base_images;
    return out;
  }
  static elb::Options elb_options(const RegionParts& parts, const RegionOptions& options) {
    elb::Options out;
    out.region = options.aws_region;
    out.account = options.account;
    out.loopback_address = [&network = parts.network](int number) { return network.loopback_address(number); };
    return out;
  }

  Handlers handlers;
  ec2::StorePlacements placements;
  ec2::Ec2 ec2;
  imds::Imds imds;
  Ec2Eyes eyes;
  elb::Elb elb;
  autoscaling::JournalRecords records;
  autoscaling::Ec2Instances instances;
  autoscaling::ElbTargets targets;
  autoscaling::Autoscaling autoscaling;
  FrontDoor door;
};

Region::Region(const RegionParts& parts, RegionOptions options) : state_(std::make_unique<State>(parts, options)) {}
Region::~Region() = default;

void Region::open() {
  // Load balancing needs EC2's instances to know its targets again, and EC2's network needs the load balancers, whose
  // addresses its rules let in: a moment without either would take running targets out of service.
  state_->ec2.open([this] { state_->elb.open(); });
  state_->autoscaling.open();
  state_->imds.open();
}

void Region::serve_metadata(host::FileDescriptor listener) {
  state_->imds.listen(state_->ec2.vpc().id, std::move(listener));
}

void Region::handle(http::Request request, std::function<void(http::Response)> answer) {
  state_->door.handle(std::move(request), std::move(answer));
}

const Handlers& Region::handlers() const { return state_->handlers; }

}  // namespace kiln::region
