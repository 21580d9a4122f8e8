// Instance: see internal/instance.h.
#include "builder/internal/instance.h"

#include <fmt/format.h>

#include <algorithm>

#include "aws/client.h"
#include "aws/paginate.h"
#include "aws/wait.h"
#include "base/encoding.h"
#include "base/text.h"
#include "fleet/names.h"
#include "wire/ec2.h"
#include "wire/ssm.h"

namespace kiln::builder {
namespace {

namespace ec2 = wire::ec2;
namespace ssm = wire::ssm;

constexpr const char* kDebianOwner = "136693071363";  // https://wiki.debian.org/Cloud/AmazonEC2Image
constexpr Duration kReachable = std::chrono::minutes(10);
constexpr Duration kStopped = std::chrono::minutes(10);
constexpr Duration kAvailable = std::chrono::minutes(60);  // a snapshot of a full 8 GiB takes some ten
constexpr Duration kGone = std::chrono::minutes(10);
constexpr std::int64_t kDelivery = 600;    // seconds until a command must have begun
constexpr std::int64_t kExecution = 7200;  // and until it must have ended
constexpr std::size_t kSaidLines = 10;
constexpr std::size_t kCommentMax = 100;
constexpr std::size_t kAmiNameMax = 128;

std::string str(const std::optional<std::string>& text) { return text.value_or(""); }

ec2::Filter filter(std::string name, std::vector<std::string> values) {
  ec2::Filter made;
  made.name = std::move(name);
  made.values = std::move(values);
  return made;
}

ec2::TagSpecification tagged(const std::string& what, const std::map<std::string, std::string>& tags) {
  ec2::TagSpecification specification;
  specification.resource_type = what;
  for (const auto& [key, value] : tags) {
    ec2::Tag tag;
    tag.key = key;
    tag.value = value;
    specification.tags.push_back(tag);
  }
  return specification;
}

// EC2 takes letters, digits, and ()[] ./-'@_ .
std::string ami_name(const std::string& app, const std::string& version) {
  std::string name = fmt::format("{}-{}", app, version).substr(0, kAmiNameMax);
  std::ranges::replace_if(
      name,
      [](unsigned char c) {
        return !std::isalnum(c) && std::string_view("()[]./-'@_").find(static_cast<char>(c)) == std::string_view::npos;
      },
      '-');
  return name;
}

bool is_gone(const aws::AwsError& error) {
  return error.code() == ErrorCode::not_found || error.aws_code().find("NotFound") != std::string::npos ||
         error.aws_code() == "InvalidAMIID.Unavailable";
}

std::string newest(const std::vector<ec2::Image>& images) {
  const auto found =
      std::ranges::max_element(images, {}, [](const ec2::Image& image) { return str(image.creation_date); });
  return found == images.end() ? std::string() : str(found->image_id);
}

}  // namespace

std::string base_ami(aws::Client& client, const spec::App& app) {
  ec2::DescribeImagesRequest request;
  bool most_recent = true;
  std::string what;
  if (const auto* debian = std::get_if<spec::DebianBase>(&app.image.base)) {
    const std::string number = debian->release == "bookworm" ? "12" : "13";
    what = fmt::format("of Debian named debian-{}-amd64-*", number);
    request.owners = {kDebianOwner};
    request.filters = {filter("name", {fmt::format("debian-{}-amd64-*", number)}), filter("state", {"available"})};
  } else if (const auto* ami = std::get_if<spec::AmiBase>(&app.image.base)) {
    what = ami->id.empty() ? "that 'ami' describes" : ami->id;
    if (!ami->id.empty()) request.image_ids = {ami->id};
    request.owners = ami->owners;
    for (const auto& [name, values] : ami->filters) request.filters.push_back(filter(name, values));
    most_recent = ami->most_recent || !ami->id.empty();
  } else {
    throw app.source.error(app.image.where, "a base that is no AMI cannot be baked in an instance",
                           "Begin with 'from: debian:RELEASE' or an 'ami', or bake offline: kiln bake.");
  }
  const auto images = client.call<ec2::DescribeImages>(request).images;
  if (images.empty()) {
    throw Error(ErrorCode::not_found, fmt::format("there is no AMI {} in this region", what),
                "Look for it by: aws ec2 describe-images");
  }
  if (images.size() > 1 && !most_recent) {
    throw app.source.error(app.image.where, fmt::format("{} AMIs match, and one must", images.size()),
                           "Narrow the filters, or say 'most_recent'.");
  }
  return newest(images);
}

void Run::note(const std::string& text) const {
  if (request_.on_progress) request_.on_progress({Progress::Kind::note, 0, 0, text, {}, {}});
}

std::string Run::vpc_of_subnet() const {
  if (request_.subnet.empty()) return {};
  ec2::DescribeSubnetsRequest request;
  request.subnet_ids = {request_.subnet};
  for (const auto& subnet : site_.client.call<ec2::DescribeSubnets>(request).subnets) return str(subnet.vpc_id);
  return {};
}

// Nothing may come in; what it needs it asks for itself.
std::string Run::make_group() {
  ec2::CreateSecurityGroupRequest request;
  request.group_name = "kiln-builder-" + run_;
  request.description = "Kiln: baking " + request_.app.name;
  if (const std::string vpc = vpc_of_subnet(); !vpc.empty()) request.vpc_id = vpc;
  request.tag_specifications = {
      tagged("security-group", {{std::string(kTagBuilder), run_}, {std::string(fleet::kTagApp), request_.app.name}})};
  return str(site_.client.call<ec2::CreateSecurityGroup>(request).group_id);
}

void Run::launch(const std::string& ami) {
  const std::string group = make_group();
  ec2::RunInstancesRequest request;
  request.image_id = ami;
  request.instance_type = request_.instance_type;
  request.min_count = request.max_count = 1;
  request.security_group_ids = {group};
  if (!request_.subnet.empty()) request.subnet_id = request_.subnet;
  request.instance_initiated_shutdown_behavior = "terminate";
  request.client_token = "kiln-builder-" + run_;
  ec2::InstanceMetadataOptionsRequest metadata;
  metadata.http_tokens = "required";
  request.metadata_options = metadata;
  if (!request_.instance_profile.empty()) {
    ec2::IamInstanceProfileSpecification profile;
    profile.name = request_.instance_profile;
    request.iam_instance_profile = profile;
  }
  if (request_.install_agent) {
    // https://docs.aws.amazon.com/systems-manager/latest/userguide/agent-install-deb.html
    request.user_data = base64_encode(
        "#!/bin/sh\ncommand -v amazon-ssm-agent >/dev/null && exit 0\ncd /tmp\n"
        "package=https://s3.amazonaws.com/ec2-downloads-windows/SSMAgent/latest/debian_amd64/amazon-ssm-agent.deb\n"
        "{ wget -q \"$package\" || curl -fsSO \"$package\"; } && dpkg -i amazon-ssm-agent.deb; rm -f "
        "amazon-ssm-agent.deb\n"
        "systemctl enable --now amazon-ssm-agent\n");
  }
  const std::map<std::string, std::string> tags = {{std::string(kTagBuilder), run_},
                                                   {std::string(fleet::kTagApp), request_.app.name},
                                                   {"Name", "kiln builder of " + request_.app.name}};
  request.tag_specifications = {tagged("instance", tags), tagged("volume", tags)};
  const auto made = site_.client.call<ec2::RunInstances>(request);
  instance_ = made.instances.empty() ? "" : str(made.instances.front().instance_id);
  note(fmt::format("builder {} from {}, a {}", instance_, ami, request_.instance_type));

  aws::Wait wait;
  wait.what = fmt::format("{} to be reached by Systems Manager", instance_);
  wait.budget = kReachable;
  wait.cancelled = request_.cancelled;
  aws::wait_until(site_.clock, wait, [&] {
    const std::string now = state();
    if (now == "terminated" || now == "shutting-down" || now == "stopped") {
      throw Error(ErrorCode::io, fmt::format("the builder {} is {}", instance_, now),
                  "Its console: aws ec2 get-console-output --instance-id " + instance_);
    }
    ssm::DescribeInstanceInformationRequest asked;
    ssm::InstanceInformationStringFilter id;
    id.key = "InstanceIds";
    id.values = {instance_};
    asked.filters = {id};
    aws::Seen seen{false, now};
    for (const auto& one : site_.client.call<ssm::DescribeInstanceInformation>(asked).instance_information_list) {
      seen = {str(one.ping_status) == "Online", now + ", agent " + str(one.ping_status)};
    }
    return seen;
  });
}

std::string Run::state() const {
  ec2::DescribeInstancesRequest request;
  request.instance_ids = {instance_};
  for (const auto& reservation : site_.client.call<ec2::DescribeInstances>(request).reservations) {
    for (const auto& instance : reservation.instances) return instance.state ? str(instance.state->name) : "";
  }
  return {};
}

std::string Run::command(const std::string& script, const std::string& comment) {
  ssm::SendCommandRequest request;
  request.document_name = "AWS-RunShellScript";
  request.instance_ids = {instance_};
  request.timeout_seconds = kDelivery;
  request.comment = comment.substr(0, kCommentMax);
  request.parameters = {{"commands", {script}}, {"executionTimeout", {std::to_string(kExecution)}}};
  const auto sent = site_.client.call<ssm::SendCommand>(request);
  const std::string id = sent.command ? str(sent.command->command_id) : "";

  ssm::GetCommandInvocationResult found;
  aws::Wait wait;
  wait.what = comment;
  wait.budget = std::chrono::seconds(kDelivery + kExecution + 60);
  wait.interval_min = Duration(50);
  wait.interval_max = Duration(3'000);
  wait.cancelled = request_.cancelled;
  aws::wait_until(site_.clock, wait, [&] {
    ssm::GetCommandInvocationRequest asked;
    asked.command_id = id;
    asked.instance_id = instance_;
    try {
      found = site_.client.call<ssm::GetCommandInvocation>(asked);
    } catch (const aws::AwsError& error) {
      // It shows up a moment after it was sent.
      if (error.aws_code() != "InvocationDoesNotExist") throw;
      return aws::Seen{false, "sent"};
    }
    const std::string status = str(found.status);
    const bool under_way =
        status == "Pending" || status == "InProgress" || status == "Delayed" || status == "Cancelling";
    return aws::Seen{!under_way, status};
  });
  const std::string out = str(found.standard_output_content), err = str(found.standard_error_content);
  if (str(found.status) == "Success") return out + err;
  const std::string said = last_lines(std::string(trim(err.empty() ? out : err)), kSaidLines);
  throw Error(ErrorCode::io, fmt::format("it ended with status {} ({}){}{}", found.response_code.value_or(-1),
                                         str(found.status_details), said.empty() ? "" : ":\n", said));
}

void Run::stop() {
  ec2::StopInstancesRequest request;
  request.instance_ids = {instance_};
  site_.client.call<ec2::StopInstances>(request);
  aws::Wait wait;
  wait.what = instance_ + " to be stopped";
  wait.budget = kStopped;
  wait.cancelled = request_.cancelled;
  aws::wait_until(site_.clock, wait, [&] {
    const std::string now = state();
    return aws::Seen{now == "stopped", now};
  });
}

std::string Run::create_image(const std::map<std::string, std::string>& tags) {
  std::map<std::string, std::string> all = tags;
  all[std::string(kTagBuilder)] = run_;
  ec2::CreateImageRequest request;
  request.instance_id = instance_;
  request.name = ami_name(request_.app.name, request_.version);
  request.description = fmt::format("{} {}, baked by Kiln in {}", request_.app.name, request_.version, instance_);
  request.tag_specifications = {tagged("image", all), tagged("snapshot", all)};
  const std::string ami = str(site_.client.call<ec2::CreateImage>(request).image_id);
  note(fmt::format("{} is being made", ami));
  aws::Wait wait;
  wait.what = ami + " to be available";
  wait.budget = kAvailable;
  wait.cancelled = request_.cancelled;
  aws::wait_until(site_.clock, wait, [&] {
    ec2::DescribeImagesRequest asked;
    asked.filters = {filter("image-id", {ami})};
    aws::Seen seen;
    for (const auto& image : site_.client.call<ec2::DescribeImages>(asked).images) {
      seen.state = str(image.state);
      if (seen.state == "failed" || seen.state == "error" || seen.state == "invalid") {
        throw Error(ErrorCode::io, fmt::format("the AMI {} is {}{}", ami, seen.state,
                                               image.state_reason ? ": " + str(image.state_reason->message) : ""));
      }
    }
    seen.done = seen.state == "available";
    return seen;
  });
  return ami;
}

void Run::tag(const std::string& resource, const std::map<std::string, std::string>& tags) {
  ec2::CreateTagsRequest request;
  request.resources = {resource};
  request.tags = tagged("", tags).tags;
  site_.client.call<ec2::CreateTags>(request);
}

std::string Run::snapshot_of(const std::string& ami) {
  ec2::DescribeImagesRequest request;
  request.image_ids = {ami};
  for (const auto& image : site_.client.call<ec2::DescribeImages>(request).images) {
    for (const auto& device : image.block_device_mappings) {
      if (device.ebs && device.ebs->snapshot_id) return *device.ebs->snapshot_id;
    }
  }
  return {};
}

namespace {

class Removal {
 public:
  Removal(aws::Client& client, host::Clock& clock, const std::string& run)
      : client_(client), clock_(clock), mine_{filter("tag:" + std::string(kTagBuilder), {run})} {}

  void instances() {
    std::vector<std::string> ids = living();
    if (ids.empty()) return;
    ec2::TerminateInstancesRequest request;
    request.instance_ids = ids;
    client_.call<ec2::TerminateInstances>(request);
    for (const std::string& id : ids) removed_.push_back("instance " + id);
    aws::Wait wait;
    wait.what = join(ids, ", ") + " to be terminated";
    wait.budget = kGone;
    aws::wait_until(clock_, wait, [&] {
      ids = living();
      return aws::Seen{ids.empty(), ids.empty() ? "terminated" : "there"};
    });
  }

  void groups() {
    ec2::DescribeSecurityGroupsRequest request;
    request.filters = mine_;
    for (const auto& group : client_.call<ec2::DescribeSecurityGroups>(request).security_groups) {
      ec2::DeleteSecurityGroupRequest removal;
      removal.group_id = group.group_id;
      aws::Wait wait;
      wait.what = str(group.group_id) + " to be in use by nobody";
      wait.budget = kGone;
      aws::wait_until(clock_, wait, [&] {
        try {
          client_.call<ec2::DeleteSecurityGroup>(removal);
        } catch (const aws::AwsError& error) {
          // Its network interface goes a moment after the instance.
          if (error.aws_code() == "DependencyViolation") return aws::Seen{false, "in use"};
          if (!is_gone(error)) throw;
        }
        return aws::Seen{true, "deleted"};
      });
      removed_.push_back("security group " + str(group.group_id));
    }
  }

  void images(const std::vector<std::string>& keep) {
    ec2::DescribeImagesRequest request;
    request.owners = {"self"};
    request.filters = mine_;
    bool kept = false;
    for (const auto& image : client_.call<ec2::DescribeImages>(request).images) {
      if (std::ranges::find(keep, str(image.image_id)) != keep.end()) {
        kept = true;
        continue;
      }
      ec2::DeregisterImageRequest removal;
      removal.image_id = image.image_id;
      try {
        client_.call<ec2::DeregisterImage>(removal);
      } catch (const aws::AwsError& error) {
        if (!is_gone(error)) throw;
      }
      removed_.push_back("AMI " + str(image.image_id));
    }
    // A run makes one AMI of one snapshot.
    if (!kept) snapshots();
  }

  std::vector<std::string> take() { return std::move(removed_); }

 private:
  std::vector<std::string> living() {
    ec2::DescribeInstancesRequest request;
    request.filters = mine_;
    std::vector<std::string> ids;
    for (const auto& reservation :
         aws::collect<ec2::DescribeInstances>(client_, request, &ec2::DescribeInstancesResult::reservations)) {
      for (const auto& instance : reservation.instances) {
        if (instance.state && str(instance.state->name) != "terminated") ids.push_back(str(instance.instance_id));
      }
    }
    return ids;
  }

  void snapshots() {
    ec2::DescribeSnapshotsRequest request;
    request.filters = mine_;
    for (const auto& snapshot : client_.call<ec2::DescribeSnapshots>(request).snapshots) {
      ec2::DeleteSnapshotRequest removal;
      removal.snapshot_id = snapshot.snapshot_id;
      try {
        client_.call<ec2::DeleteSnapshot>(removal);
      } catch (const aws::AwsError& error) {
        if (!is_gone(error)) throw;
      }
      removed_.push_back("snapshot " + str(snapshot.snapshot_id));
    }
  }

  aws::Client& client_;
  host::Clock& clock_;
  std::vector<ec2::Filter> mine_;
  std::vector<std::string> removed_;
};

}  // namespace

std::vector<std::string> remove_run(aws::Client& client, host::Clock& clock, const std::string& run,
                                    const std::vector<std::string>& keep) {
  Removal removal(client, clock, run);
  // An AMI that is being made needs its instance; without it both are given up.
  removal.images(keep);
  removal.instances();
  removal.groups();
  return removal.take();
}

}  // namespace kiln::builder
