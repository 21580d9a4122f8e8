// Region: its services, and the few lines by which they know of each other.
#include "region/region.h"

#include "region/autoscaling/adapters.h"
#include "region/autoscaling/autoscaling.h"
#include "region/autoscaling/handlers.h"
#include "region/ec2/ec2.h"
#include "region/ec2/handlers.h"
#include "region/ec2/placements.h"
#include "region/elb/elb.h"
#include "region/elb/handlers.h"
#include "region/iam/ec2_profiles.h"
#include "region/iam/handlers.h"
#include "region/imds/imds.h"
#include "region/ssm/handlers.h"
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
    return elb::InstanceView{found->vpc_id, found->zone, found->private_address, phase_of(found->state)};
  }
  std::optional<elb::SubnetView> subnet(const std::string& id) const override {
    const auto found = ec2_.vpcs().subnets().find(id);
    if (found == ec2_.vpcs().subnets().end()) return std::nullopt;
    return elb::SubnetView{found->second.vpc_id, found->second.zone};
  }
  bool vpc_exists(const std::string& id) const override { return ec2_.vpcs().vpcs().contains(id); }
  std::optional<std::string> security_group_vpc(const std::string& id) const override {
    auto it = ec2_.security_groups().find(id);
    if (it == ec2_.security_groups().end()) return std::nullopt;
    return it->second.vpc_id;
  }
  std::string default_security_group(const std::string& vpc_id) const override {
    return ec2_.default_security_group_id(vpc_id);
  }

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
  State(const RegionParts& parts, const std::string& account, const std::string& name)
      : placements(parts.store),
        late(parts.tables, parts.loop, parts.describe_delay),
        ec2(parts.loop, parts.random, parts.describe_delay > Duration(0) ? late : parts.tables, parts.machines,
            parts.network, placements, parts.addresses, ec2_options(parts, account, name)),
        imds(parts.loop, parts.random, parts.tables, ec2),
        eyes(ec2),
        elb(parts.loop, parts.random, parts.tables, eyes, parts.balancer, parts.prober, parts.addresses,
            elb_options(account, name)),
        records(parts.tables),
        instances(ec2),
        targets(elb),
        autoscaling(parts.loop, parts.random, records, instances, targets, {name, account}),
        commands(parts.loop, parts.random, parts.tables, parts.machines, ec2, {name, account}),
        parameters(parts.loop, parts.random, parts.tables, {name, account, parts.parameter_key}) {
    ec2::serve(handlers, ec2);
    if (parts.describe_delay > Duration(0)) lag(parts, account, name);
    elb::serve(handlers, elb);
    autoscaling::serve(handlers, autoscaling);
    iam::serve(handlers, parts.iam);
    sts::serve(handlers, parts.iam, parts.keyring, parts.iam_of);
    ssm::serve(handlers, commands);
    ssm::serve(handlers, parameters);
    ec2.set_instance_profiles(iam::ec2_profiles(parts.iam));
    imds.set_roles([&own = parts.iam](const ec2::Instance& instance) -> std::optional<iam::RoleCredentials> {
      try {
        return own.instance_credentials(instance.profile->arn, instance.id);
      } catch (const ApiError&) {
        return std::nullopt;  // its role does not trust EC2
      }
    });
    parameters.set_public([this] { return ec2.public_parameters(); });
    // Rules that name a load balancer's security group let the balancer's own addresses in.
    ec2.set_balancer_uses([this](const std::string& id) { return elb.uses(id); });
    elb.on_load_balancer_change([this] { ec2.network_changed(); });
    parameters.set_image_exists([this](const std::string& id) { return ec2.images().contains(id); });
    ec2.set_image_parameter(
        [this](const std::string& parameter) { return parameters.get(parameter, false).version.value; });
    ec2.on_instance_change(
        [this](const ec2::Instance& instance, ec2::InstanceState) { elb.instance_changed(instance.id); });
  }

  // Describe calls are answered by a replica that hears of every change late.
  void lag(const RegionParts& parts, const std::string& account, const std::string& name) {
    replica = std::make_shared<ec2::Ec2>(parts.loop, parts.random, parts.tables, parts.machines, parts.network,
                                         placements, parts.addresses, ec2_options(parts, account, name));
    late.hand_on([&replica = *replica](const auto&... change) { replica.replicate(change...); }, replica);
    Handlers describing;
    ec2::serve(describing, *replica);
    handlers.answer_as(describing, "Describe");
  }

  static ec2::Options ec2_options(const RegionParts& parts, const std::string& account, const std::string& name) {
    ec2::Options out;
    out.region = name;
    out.account = account;
    out.say = parts.say;
    out.base_images = parts.base_images;
    return out;
  }
  static elb::Options elb_options(const std::string& account, const std::string& name) {
    elb::Options out;
    out.region = name;
    out.account = account;
    return out;
  }

  Handlers handlers;
  ec2::StorePlacements placements;
  LateTables late;
  ec2::Ec2 ec2;
  std::shared_ptr<ec2::Ec2> replica;  // null without a delay
  imds::Imds imds;
  Ec2Eyes eyes;
  elb::Elb elb;
  autoscaling::JournalRecords records;
  autoscaling::Ec2Instances instances;
  autoscaling::ElbTargets targets;
  autoscaling::Autoscaling autoscaling;
  ssm::Commands commands;
  ssm::Parameters parameters;
};

Region::Region(const RegionParts& parts, const std::string& account, const std::string& name)
    : state_(std::make_unique<State>(parts, account, name)) {}
Region::~Region() = default;

void Region::load() {
  // Load balancing needs EC2's instances to know its targets again, and EC2's network needs the load balancers, whose
  // addresses its rules let in: a moment without either would take running targets out of service.
  state_->ec2.load();
  if (state_->replica) state_->replica->read(state_->late);
  state_->elb.open();
  state_->parameters.open();
  state_->imds.open();
}

std::vector<machine::Spec> Region::machines() const { return state_->ec2.machines(); }
std::vector<std::string> Region::host_volumes() const { return state_->ec2.host_volumes(); }
void Region::connect() { state_->ec2.connect(); }

void Region::resume(const std::vector<std::string>& alive) {
  state_->ec2.resume(alive);
  state_->autoscaling.open();
  state_->commands.open();
}

void Region::network_changed(const std::string& vpc, bool there, const ListenIn& listen_in) {
  if (!there) {
    state_->imds.close(vpc);
  } else if (state_->ec2.vpcs().vpcs().contains(vpc)) {
    // There is none in a network that is simulated.
    if (host::FileDescriptor socket = listen_in(vpc)) state_->imds.listen(vpc, std::move(socket));
  }
}

void Region::machine_ended(const machine::Exit& exit) { state_->ec2.machine_ended(exit); }
const Handlers& Region::handlers() const { return state_->handlers; }
const ec2::Ec2& Region::ec2() const { return state_->ec2; }

void Region::look_at(const std::function<std::vector<const ec2::Image*>()>& shared_images,
                     const std::function<const ec2::Ec2*(const std::string&)>& own_regions) {
  state_->ec2.set_foreign_images(shared_images);
  state_->ec2.set_other_regions(own_regions);
  if (state_->replica) state_->replica->set_foreign_images(shared_images);
}

}  // namespace kiln::region
