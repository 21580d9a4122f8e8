// Act: the calls behind each step, and what AWS's refusals mean.
#include "deploy/internal/act.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "aws/client.h"
#include "base/text.h"
#include "wire/autoscaling.h"
#include "wire/ec2.h"
#include "wire/elb.h"

namespace kiln::deploy {
namespace {

namespace ec2 = wire::ec2;
namespace asg = wire::autoscaling;
namespace elb = wire::elb;
using fleet::Fleet;

std::int64_t seconds(Duration duration) { return std::chrono::duration_cast<std::chrono::seconds>(duration).count(); }

// How the balancer asks a target whether it is well: of a new target group and of one that is changed.
template <typename Request>
void ask_health(Request& request, const spec::HealthSpec& health) {
  request.health_check_path = health.path;
  request.health_check_interval_seconds = seconds(health.interval);
  request.health_check_timeout_seconds = seconds(health.timeout);
  request.healthy_threshold_count = health.healthy;
  request.unhealthy_threshold_count = health.unhealthy;
  request.matcher.emplace().http_code = health.status;
}

template <typename Tag>
std::vector<Tag> tags_from(const std::map<std::string, std::string>& tags) {
  std::vector<Tag> out;
  for (const auto& [key, value] : tags) {
    Tag tag;
    tag.key = key;
    tag.value = value;
    out.push_back(std::move(tag));
  }
  return out;
}

std::vector<ec2::TagSpecification> tagged(const std::string& resource, const fleet::Names& names) {
  ec2::TagSpecification specification;
  specification.resource_type = resource;
  specification.tags = tags_from<ec2::Tag>(names.tags());
  return {specification};
}

// Does the acts of one step; each returns the id of what it made, or nothing.
class Doer {
 public:
  Doer(aws::Client& client, const Wanted& wanted, const Fleet& fleet, const std::string& token)
      : client_(client), wanted_(wanted), names_(wanted.names), fleet_(fleet), token_(token) {}

  std::string operator()(const CreateSecurityGroup& action) {
    const bool balancer = action.of == SecurityGroupOf::balancer;
    ec2::CreateSecurityGroupRequest request;
    request.group_name = balancer ? names_.balancer_security_group : names_.instance_security_group;
    request.description = fmt::format("{} of {}", balancer ? "Load balancer" : "Instances", names_.app);
    if (!fleet_.vpc.empty()) request.vpc_id = fleet_.vpc;
    request.tag_specifications = tagged("security-group", names_);
    return client_.call<ec2::CreateSecurityGroup>(request).group_id.value_or("");
  }

  std::string operator()(const OpenPort& action) {
    const bool balancer = action.of == SecurityGroupOf::balancer;
    const auto& group = balancer ? fleet_.balancer_security_group : fleet_.instance_security_group;
    ec2::IpPermission permission;
    permission.ip_protocol = "tcp";
    permission.from_port = permission.to_port = balancer ? wanted_.fleet.listen.port : wanted_.fleet.listen.target_port;
    if (balancer) {
      ec2::IpRange everywhere;
      everywhere.cidr_ip = "0.0.0.0/0";
      permission.ip_ranges = {everywhere};
    } else {
      ec2::UserIdGroupPair from;
      from.group_id = fleet_.balancer_security_group->id;
      permission.user_id_group_pairs = {from};
    }
    ec2::AuthorizeSecurityGroupIngressRequest request;
    request.group_id = group->id;
    request.ip_permissions = {permission};
    client_.call<ec2::AuthorizeSecurityGroupIngress>(request);
    return {};
  }

  std::string operator()(const CreateTargetGroup&) {
    elb::CreateTargetGroupInput request;
    request.name = names_.target_group;
    request.protocol = "HTTP";
    request.port = wanted_.fleet.listen.target_port;
    if (!fleet_.vpc.empty()) request.vpc_id = fleet_.vpc;
    request.target_type = "instance";
    request.health_check_protocol = "HTTP";
    ask_health(request, wanted_.fleet.health);
    request.tags = tags_from<elb::Tag>(names_.tags());
    auto made = client_.call<elb::CreateTargetGroup>(request).target_groups;
    const std::string arn = made.empty() ? "" : made.front().target_group_arn.value_or("");
    if (!arn.empty()) set_drain(arn);
    return arn;
  }

  std::string operator()(const ChangeTargetGroup&) {
    elb::ModifyTargetGroupInput request;
    request.target_group_arn = fleet_.target_group->arn;
    ask_health(request, wanted_.fleet.health);
    client_.call<elb::ModifyTargetGroup>(request);
    set_drain(fleet_.target_group->arn);
    return {};
  }

  std::string operator()(const CreateLoadBalancer&) {
    elb::CreateLoadBalancerInput request;
    request.name = names_.load_balancer;
    request.subnets = fleet_.subnets;
    request.security_groups = {fleet_.balancer_security_group->id};
    request.scheme = "internet-facing";
    request.type = "application";
    request.tags = tags_from<elb::Tag>(names_.tags());
    auto made = client_.call<elb::CreateLoadBalancer>(request).load_balancers;
    return made.empty() ? "" : made.front().load_balancer_arn.value_or("");
  }

  std::string operator()(const CreateListener&) {
    elb::CreateListenerInput request;
    request.load_balancer_arn = fleet_.load_balancer->arn;
    request.protocol = "HTTP";
    request.port = wanted_.fleet.listen.port;
    request.default_actions = {forward()};
    auto made = client_.call<elb::CreateListener>(request).listeners;
    return made.empty() ? "" : made.front().listener_arn.value_or("");
  }

  std::string operator()(const ChangeListener&) {
    const auto on_port = std::ranges::find(fleet_.listeners, wanted_.fleet.listen.port, &fleet::Listener::port);
    elb::ModifyListenerInput request;
    request.listener_arn = (on_port == fleet_.listeners.end() ? fleet_.listeners.front() : *on_port).arn;
    request.port = wanted_.fleet.listen.port;
    request.protocol = "HTTP";
    request.default_actions = {forward()};
    client_.call<elb::ModifyListener>(request);
    return {};
  }

  std::string operator()(const CreateLaunchTemplate&) {
    ec2::CreateLaunchTemplateRequest request;
    request.client_token = token_;
    request.launch_template_name = names_.launch_template;
    request.version_description = description();
    request.launch_template_data = template_data();
    request.tag_specifications = tagged("launch-template", names_);
    auto made = client_.call<ec2::CreateLaunchTemplate>(request).launch_template;
    return made ? made->launch_template_id.value_or("") : "";
  }

  std::string operator()(const CreateTemplateVersion&) {
    ec2::CreateLaunchTemplateVersionRequest request;
    request.client_token = token_;
    request.launch_template_id = fleet_.launch_template->id;
    request.version_description = description();
    request.launch_template_data = template_data();
    auto made = client_.call<ec2::CreateLaunchTemplateVersion>(request).launch_template_version;
    return made ? std::to_string(made->version_number.value_or(0)) : "";
  }

  std::string operator()(const CreateGroup& action) {
    asg::CreateAutoScalingGroupType request;
    request.auto_scaling_group_name = names_.group;
    request.launch_template = specification(action.template_version);
    request.min_size = wanted_.fleet.min;
    request.max_size = wanted_.fleet.max;
    request.desired_capacity = wanted_.fleet.size;
    request.vpc_zone_identifier = join(fleet_.subnets, ",");
    request.target_group_arns = {fleet_.target_group->arn};
    request.health_check_type = "ELB";
    request.health_check_grace_period = seconds(wanted_.fleet.grace);
    request.default_instance_warmup = seconds(wanted_.fleet.warmup);
    request.tags = group_tags();
    client_.call<asg::CreateAutoScalingGroup>(request);
    return names_.group;
  }

  std::string operator()(const ResizeGroup& action) {
    asg::UpdateAutoScalingGroupType request;
    request.auto_scaling_group_name = names_.group;
    request.min_size = action.min;
    request.max_size = action.max;
    request.desired_capacity = action.desired;
    client_.call<asg::UpdateAutoScalingGroup>(request);
    asg::CreateOrUpdateTagsType tags;
    tags.tags = group_tags();
    client_.call<asg::CreateOrUpdateTags>(tags);
    return {};
  }

  std::string operator()(const StartRefresh& action) {
    asg::StartInstanceRefreshType request;
    request.auto_scaling_group_name = names_.group;
    request.strategy = "Rolling";
    request.desired_configuration.emplace().launch_template = specification(action.template_version);
    auto& preferences = request.preferences.emplace();
    preferences.min_healthy_percentage = 100;
    preferences.max_healthy_percentage = action.max_healthy;
    preferences.instance_warmup = seconds(wanted_.fleet.warmup);
    preferences.skip_matching = true;
    preferences.auto_rollback = action.auto_rollback;
    if (action.bake > Duration::zero()) preferences.bake_time = seconds(action.bake);
    return client_.call<asg::StartInstanceRefresh>(request).instance_refresh_id.value_or("");
  }

  std::string operator()(const RollBackRefresh&) {
    asg::RollbackInstanceRefreshType request;
    request.auto_scaling_group_name = names_.group;
    return client_.call<asg::RollbackInstanceRefresh>(request).instance_refresh_id.value_or("");
  }

  std::string operator()(const CancelRefresh&) {
    asg::CancelInstanceRefreshType request;
    request.auto_scaling_group_name = names_.group;
    return client_.call<asg::CancelInstanceRefresh>(request).instance_refresh_id.value_or("");
  }

  std::string operator()(const DecideToGoBack&) { return {}; }
  std::string operator()(const BeginHold&) { return {}; }

 private:
  void set_drain(const std::string& arn) {
    elb::TargetGroupAttribute drain;
    drain.key = "deregistration_delay.timeout_seconds";
    drain.value = std::to_string(seconds(wanted_.fleet.drain));
    elb::ModifyTargetGroupAttributesInput request;
    request.target_group_arn = arn;
    request.attributes = {drain};
    client_.call<elb::ModifyTargetGroupAttributes>(request);
  }

  elb::Action forward() const {
    elb::TargetGroupTuple target;
    target.target_group_arn = fleet_.target_group->arn;
    target.weight = 1;
    elb::Action action;
    action.type = "forward";
    action.forward_config.emplace().target_groups = {target};
    return action;
  }

  // Always a number: $Latest and $Default would launch what nobody has deployed.
  asg::LaunchTemplateSpecification specification(std::int64_t version) const {
    asg::LaunchTemplateSpecification specification;
    specification.launch_template_id = fleet_.launch_template->id;
    specification.version = std::to_string(version);
    return specification;
  }

  std::string description() const { return fmt::format("{} {}", names_.app, wanted_.version); }

  ec2::RequestLaunchTemplateData template_data() const {
    std::map<std::string, std::string> tags = names_.tags();
    tags["Name"] = names_.group;
    tags[std::string(fleet::kTagVersion)] = wanted_.version;
    tags[std::string(fleet::kTagDigest)] = wanted_.digest.str();
    ec2::LaunchTemplateTagSpecificationRequest instances;
    instances.resource_type = "instance";
    instances.tags = tags_from<ec2::Tag>(tags);
    ec2::RequestLaunchTemplateData data;
    data.image_id = wanted_.ami;
    data.instance_type = wanted_.fleet.instance_type;
    data.security_group_ids = {fleet_.instance_security_group->id};
    data.tag_specifications = {instances};
    return data;
  }

  std::vector<asg::Tag> group_tags() const {
    std::map<std::string, std::string> tags = names_.tags();
    tags[std::string(fleet::kTagSize)] = std::to_string(wanted_.fleet.size);
    std::vector<asg::Tag> out = tags_from<asg::Tag>(tags);
    for (asg::Tag& tag : out) {
      tag.resource_id = names_.group;
      tag.resource_type = "auto-scaling-group";
      tag.propagate_at_launch = false;
    }
    return out;
  }

  aws::Client& client_;
  const Wanted& wanted_;
  const fleet::Names& names_;
  const Fleet& fleet_;
  const std::string& token_;
};

// Answers that say: look again, somebody (we, before a crash, as a rule) has done it or it has gone on meanwhile.
bool says_look_again(const aws::AwsError& error) {
  static const std::set<std::string> kCodes = {
      "InvalidPermission.Duplicate",
      "InvalidGroup.Duplicate",
      "InvalidLaunchTemplateName.AlreadyExistsException",
      "AlreadyExists",
      "DuplicateTargetGroupName",
      "DuplicateLoadBalancerName",
      "DuplicateListener",
      "InstanceRefreshInProgress",
      "ActiveInstanceRefreshNotFound",
      "IrreversibleInstanceRefresh",
  };
  return error.code() == ErrorCode::already_exists || kCodes.contains(error.aws_code());
}

// Credentials that stopped being valid are the user's to renew; the deployment waits for them in the ledger.
bool is_about_credentials(const aws::AwsError& error) {
  static const std::set<std::string> kPermission = {"UnauthorizedOperation", "AccessDenied", "AccessDeniedException",
                                                    "OperationNotPermitted"};
  return error.code() == ErrorCode::denied && !kPermission.contains(error.aws_code());
}

}  // namespace

Acted act(aws::Client& client, const Action& action, const Wanted& wanted, const Fleet& fleet,
          const std::string& token) {
  try {
    return {true, std::visit(Doer(client, wanted, fleet, token), action), "", false};
  } catch (const aws::AwsError& error) {
    if (says_look_again(error)) return {true, "", "", false};
    if (error.code() == ErrorCode::unavailable || error.code() == ErrorCode::timeout || is_about_credentials(error))
      throw;
    // What is not visible yet, or busy, is asked for again, a few times; the rest is refused for good.
    const bool later = error.code() == ErrorCode::not_found || error.code() == ErrorCode::conflict ||
                       error.aws_code().find("NotFound") != std::string::npos;
    return {false, "", fmt::format("{}: {} ({})", sentence(action, wanted), error.details().message, error.aws_code()),
            !later};
  }
}

}  // namespace kiln::deploy
