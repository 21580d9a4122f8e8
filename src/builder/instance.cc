// Instance: see internal/instance.h.
#include "builder/internal/instance.h"

#include <fmt/format.h>

#include <algorithm>

#include "aws/client.h"
#include "aws/wait.h"
#include "base/encoding.h"
#include "base/text.h"
#include "builder/internal/words.h"
#include "fleet/names.h"
#include "wire/ssm.h"

namespace kiln::builder {
namespace {

namespace ec2 = wire::ec2;
namespace ssm = wire::ssm;
using machine::CommandEnd;

constexpr Duration kReachable = std::chrono::minutes(10);
constexpr Duration kStopped = std::chrono::minutes(10);
constexpr Duration kAvailable = std::chrono::minutes(60);  // a snapshot of a full 8 GiB takes some ten
constexpr Duration kStepMost = std::chrono::hours(2);
constexpr Duration kReadMost = std::chrono::minutes(20);
constexpr Duration kPieceMost = std::chrono::minutes(1);
constexpr std::int64_t kDelivery = 600;  // seconds until a command must have begun
constexpr std::size_t kSaidLines = 10;
constexpr std::size_t kCommentMax = 100;
constexpr std::size_t kAmiNameMax = 128;
// GetCommandInvocation gives the first 24,000 characters; the size goes before the first piece.
constexpr std::size_t kPieceChars = 23'900;
constexpr std::size_t kReadCharsMax = std::size_t{16} << 20;

// Throws unless it ended well.
void must(const CommandEnd& end) {
  if (end.how == CommandEnd::How::exited && end.status == 0) return;
  const std::string said = last_lines(std::string(trim(end.err.empty() ? end.out : end.err)), kSaidLines);
  const char* how = end.how == CommandEnd::How::exited      ? "Failed"
                    : end.how == CommandEnd::How::timed_out ? "TimedOut"
                    : end.how == CommandEnd::How::cancelled ? "Cancelled"
                                                            : "Undeliverable";
  throw Error(ErrorCode::io,
              fmt::format("it ended with status {} ({}){}{}", end.status, how, said.empty() ? "" : ":\n", said));
}

CommandEnd end_of(const ssm::GetCommandInvocationResult& found) {
  CommandEnd end;
  const std::string status = str(found.status), details = str(found.status_details);
  end.status = static_cast<int>(found.response_code.value_or(-1));
  end.out = str(found.standard_output_content);
  end.err = str(found.standard_error_content);
  if (status == "TimedOut" || details == "ExecutionTimedOut") {
    end.how = details == "DeliveryTimedOut" ? CommandEnd::How::undelivered : CommandEnd::How::timed_out;
  } else if (status == "Cancelled") {
    end.how = CommandEnd::How::cancelled;
  } else if (status == "Success" || end.status >= 0) {
    end.how = CommandEnd::How::exited;
  } else {
    end.how = CommandEnd::How::undelivered;
    if (end.err.empty()) end.err = details;
  }
  return end;
}

// EC2 takes letters, digits, and ()[] ./-'@_ .
std::string ami_name(const std::string& of) {
  std::string name = of.substr(0, kAmiNameMax);
  std::ranges::replace_if(
      name,
      [](unsigned char c) {
        return !std::isalnum(c) && std::string_view("()[]./-'@_").find(static_cast<char>(c)) == std::string_view::npos;
      },
      '-');
  return name;
}

}  // namespace

std::string group_name(Role role, const std::string& run) {
  return (role == Role::builder ? "kiln-builder-" : "kiln-test-") + run;
}

std::string as_command(const std::string& script) {
  return fmt::format("exec /bin/sh -c \"$(printf %s '{}' | base64 -d)\"\n", base64_encode(script));
}

std::string Instance::name() const {
  return role_ == Role::builder ? "kiln builder of " + app_ : "kiln test of " + app_;
}

std::string Instance::vpc_of_subnet() const {
  if (options_.subnet.empty()) return {};
  ec2::DescribeSubnetsRequest request;
  request.subnet_ids = {options_.subnet};
  for (const auto& subnet : site_.client.call<ec2::DescribeSubnets>(request).subnets) return str(subnet.vpc_id);
  return {};
}

// Nothing may come in; what it needs it asks for itself.
std::string Instance::make_group() {
  ec2::CreateSecurityGroupRequest request;
  request.group_name = group_name(role_, run_);
  request.description = name();
  if (const std::string vpc = vpc_of_subnet(); !vpc.empty()) request.vpc_id = vpc;
  request.tag_specifications = {
      tagged("security-group", {{std::string(kTagBuilder), run_}, {std::string(fleet::kTagApp), app_}})};
  return str(site_.client.call<ec2::CreateSecurityGroup>(request).group_id);
}

void Instance::launch(const std::string& ami, const std::vector<ec2::BlockDeviceMapping>& volumes) {
  const std::string group = make_group();
  ec2::RunInstancesRequest request;
  request.image_id = ami;
  request.instance_type = options_.type;
  request.min_count = request.max_count = 1;
  request.security_group_ids = {group};
  request.block_device_mappings = volumes;
  if (!options_.subnet.empty()) request.subnet_id = options_.subnet;
  request.instance_initiated_shutdown_behavior = "terminate";
  request.client_token = group_name(role_, run_);
  ec2::InstanceMetadataOptionsRequest metadata;
  metadata.http_tokens = "required";
  request.metadata_options = metadata;
  if (!options_.profile.empty()) {
    ec2::IamInstanceProfileSpecification profile;
    profile.name = options_.profile;
    request.iam_instance_profile = profile;
  }
  if (options_.install_agent && role_ == Role::builder) {
    // https://docs.aws.amazon.com/systems-manager/latest/userguide/agent-install-deb.html
    request.user_data = base64_encode(
        "#!/bin/sh\ncommand -v amazon-ssm-agent >/dev/null && exit 0\ncd /tmp\n"
        "package=https://s3.amazonaws.com/ec2-downloads-windows/SSMAgent/latest/debian_amd64/amazon-ssm-agent.deb\n"
        "{ wget -q \"$package\" || curl -fsSO \"$package\"; } && dpkg -i amazon-ssm-agent.deb; rm -f "
        "amazon-ssm-agent.deb\n"
        "systemctl enable --now amazon-ssm-agent\n");
  }
  const std::map<std::string, std::string> tags = {
      {std::string(kTagBuilder), run_}, {std::string(fleet::kTagApp), app_}, {"Name", name()}};
  request.tag_specifications = {tagged("instance", tags), tagged("volume", tags)};
  const auto made = site_.client.call<ec2::RunInstances>(request);
  id_ = made.instances.empty() ? "" : str(made.instances.front().instance_id);
  if (options_.on_note) {
    options_.on_note(fmt::format("{} {} from {}, a {}", role_ == Role::builder ? "builder" : "test instance", id_, ami,
                                 options_.type));
  }
  wait_until_reached();
}

void Instance::wait_until_reached() {
  aws::Wait wait;
  wait.what = fmt::format("{} to be reached by Systems Manager", id_);
  wait.budget = kReachable;
  wait.cancelled = options_.cancelled;
  aws::wait_until(site_.clock, wait, [&] {
    const std::string now = state();
    if (now == "terminated" || now == "shutting-down" || now == "stopped") {
      throw Error(ErrorCode::io, fmt::format("the instance {} is {}", id_, now),
                  "Its console: aws ec2 get-console-output --instance-id " + id_);
    }
    ssm::DescribeInstanceInformationRequest asked;
    ssm::InstanceInformationStringFilter id;
    id.key = "InstanceIds";
    id.values = {id_};
    asked.filters = {id};
    aws::Seen seen{false, now};
    for (const auto& one : site_.client.call<ssm::DescribeInstanceInformation>(asked).instance_information_list) {
      seen = {str(one.ping_status) == "Online", now + ", agent " + str(one.ping_status)};
    }
    return seen;
  });
}

namespace {

std::optional<ec2::Instance> describe(aws::Client& client, const std::string& id) {
  ec2::DescribeInstancesRequest request;
  request.instance_ids = {id};
  for (const auto& reservation : client.call<ec2::DescribeInstances>(request).reservations) {
    for (const auto& instance : reservation.instances) return instance;
  }
  return std::nullopt;
}

}  // namespace

std::string Instance::state() const {
  const auto found = describe(site_.client, id_);
  return found && found->state ? str(found->state->name) : "";
}

std::string Instance::address() const {
  const auto found = describe(site_.client, id_);
  return found ? str(found->private_ip_address) : "";
}

std::string Instance::console() const {
  ec2::GetConsoleOutputRequest request;
  request.instance_id = id_;
  return base64_decode(str(site_.client.call<ec2::GetConsoleOutput>(request).output));
}

CommandEnd Instance::ask(const std::string& script, const std::string& comment, Duration most) {
  ssm::SendCommandRequest request;
  request.document_name = "AWS-RunShellScript";
  request.instance_ids = {id_};
  request.timeout_seconds = kDelivery;
  request.comment = comment.substr(0, kCommentMax);
  const auto seconds = std::max<std::int64_t>(1, (most.count() + 999) / 1000);
  request.parameters = {{"commands", {script}}, {"executionTimeout", {std::to_string(seconds)}}};
  const auto sent = site_.client.call<ssm::SendCommand>(request);
  const std::string id = sent.command ? str(sent.command->command_id) : "";

  ssm::GetCommandInvocationResult found;
  aws::Wait wait;
  wait.what = comment;
  wait.budget = std::chrono::seconds(kDelivery + seconds + 60);
  wait.interval_min = Duration(50);
  wait.interval_max = Duration(3'000);
  wait.cancelled = options_.cancelled;
  aws::wait_until(site_.clock, wait, [&] {
    ssm::GetCommandInvocationRequest asked;
    asked.command_id = id;
    asked.instance_id = id_;
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
  return end_of(found);
}

std::string Instance::run(const std::string& script, const std::string& comment) {
  const CommandEnd end = ask(script, comment, kStepMost);
  must(end);
  return end.out + end.err;
}

std::string Instance::read(const std::string& script, const std::string& comment) {
  // Base64 has no end of line in it: what comes back is text, and may be cut anywhere.
  const CommandEnd first = ask(fmt::format("set -e\numask 077\nmkdir -p /run/kiln-read\ncd /run/kiln-read\n({}) >said\n"
                                           "base64 -w0 <said >text\nrm said\nwc -c <text\nhead -c {} text\n",
                                           trim(as_command(script)), kPieceChars),
                               comment, kReadMost);
  must(first);
  const auto line = first.out.find('\n');
  const auto size = parse_int(trim(first.out.substr(0, line)));
  if (!size || line == std::string::npos)
    throw Error(ErrorCode::io, fmt::format("{} was answered with '{}'", comment, first.out.substr(0, 100)));
  const auto all = static_cast<std::size_t>(*size);
  if (all > kReadCharsMax) {
    throw Error(ErrorCode::unsupported, fmt::format("{} gives {}: at most {} go through Systems Manager", comment,
                                                    format_bytes(all), format_bytes(kReadCharsMax)));
  }
  std::string text = first.out.substr(line + 1);
  while (text.size() < all) {
    const CommandEnd next =
        ask(fmt::format("tail -c +{} /run/kiln-read/text | head -c {}\n", text.size() + 1, kPieceChars), comment,
            kPieceMost);
    must(next);
    if (next.out.empty() || text.size() + next.out.size() > all)
      throw Error(ErrorCode::io, fmt::format("{} was cut after {} of {} characters", comment, text.size(), all));
    text += next.out;
  }
  must(ask("rm -rf /run/kiln-read\n", comment, kPieceMost));
  return base64_decode(text);
}

void Instance::stop() {
  ec2::StopInstancesRequest request;
  request.instance_ids = {id_};
  site_.client.call<ec2::StopInstances>(request);
  aws::Wait wait;
  wait.what = id_ + " to be stopped";
  wait.budget = kStopped;
  wait.cancelled = options_.cancelled;
  aws::wait_until(site_.clock, wait, [&] {
    const std::string now = state();
    return aws::Seen{now == "stopped", now};
  });
}

std::string Instance::create_image(const std::string& name, const std::map<std::string, std::string>& tags) {
  std::map<std::string, std::string> all = tags;
  all[std::string(kTagBuilder)] = run_;
  ec2::CreateImageRequest request;
  request.instance_id = id_;
  request.name = ami_name(name);
  request.description = fmt::format("{}, baked by Kiln in {}", name, id_);
  request.tag_specifications = {tagged("image", all), tagged("snapshot", all)};
  const std::string ami = str(site_.client.call<ec2::CreateImage>(request).image_id);
  wait_until_available(ami);
  return ami;
}

std::string Instance::register_image(ec2::RegisterImageRequest request, const std::string& name,
                                     const std::map<std::string, std::string>& tags) {
  std::map<std::string, std::string> all = tags;
  all[std::string(kTagBuilder)] = run_;
  request.name = ami_name(name);
  request.description = fmt::format("{}, baked by Kiln on a volume of {}", name, id_);
  request.tag_specifications = {tagged("image", all)};
  const std::string ami = str(site_.client.call<ec2::RegisterImage>(request).image_id);
  wait_until_available(ami);
  return ami;
}

std::string Instance::volume_at(const std::string& device) const {
  const auto found = describe(site_.client, id_);
  for (const auto& mapping : found ? found->block_device_mappings : std::vector<ec2::InstanceBlockDeviceMapping>{}) {
    if (str(mapping.device_name) == device && mapping.ebs) return str(mapping.ebs->volume_id);
  }
  throw Error(ErrorCode::io, fmt::format("the builder {} has no volume at {}", id_, device));
}

std::string Instance::create_snapshot(const std::string& device, const std::map<std::string, std::string>& tags) {
  std::map<std::string, std::string> all = tags;
  all[std::string(kTagBuilder)] = run_;
  ec2::CreateSnapshotRequest request;
  request.volume_id = volume_at(device);
  request.description = fmt::format("{} of {}, by Kiln", device, id_);
  request.tag_specifications = {tagged("snapshot", all)};
  const std::string id = str(site_.client.call<ec2::CreateSnapshot>(request).snapshot_id);
  aws::Wait wait;
  wait.what = fmt::format("{} of {} to be completed", id, device);
  wait.budget = kAvailable;
  wait.cancelled = options_.cancelled;
  aws::wait_until(site_.clock, wait, [&] {
    ec2::DescribeSnapshotsRequest asked;
    asked.filters = {filter("snapshot-id", {id})};
    aws::Seen seen;
    for (const auto& snapshot : site_.client.call<ec2::DescribeSnapshots>(asked).snapshots) {
      seen.state = str(snapshot.state);
      if (seen.state == "error")
        throw Error(ErrorCode::io, fmt::format("the snapshot {} has failed: {}", id, str(snapshot.state_message)));
    }
    seen.done = seen.state == "completed";
    return seen;
  });
  return id;
}

void Instance::wait_until_available(const std::string& ami) {
  if (options_.on_note) options_.on_note(fmt::format("{} is being made", ami));
  aws::Wait wait;
  wait.what = ami + " to be available";
  wait.budget = kAvailable;
  wait.cancelled = options_.cancelled;
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
}

Snapshot snapshot_of(aws::Client& client, const std::string& ami) {
  ec2::DescribeImagesRequest request;
  request.image_ids = {ami};
  Snapshot snapshot;
  for (const auto& image : client.call<ec2::DescribeImages>(request).images) {
    for (const auto& device : image.block_device_mappings) {
      const bool root = !image.root_device_name || device.device_name == image.root_device_name;
      if (root && device.ebs && device.ebs->snapshot_id && snapshot.id.empty()) snapshot.id = *device.ebs->snapshot_id;
    }
  }
  if (snapshot.id.empty()) return snapshot;
  ec2::DescribeSnapshotsRequest asked;
  asked.snapshot_ids = {snapshot.id};
  for (const auto& one : client.call<ec2::DescribeSnapshots>(asked).snapshots) {
    const auto volume = static_cast<std::uint64_t>(one.volume_size.value_or(0)) << 30;
    snapshot.size_bytes = static_cast<std::uint64_t>(one.full_snapshot_size_in_bytes.value_or(0));
    if (snapshot.size_bytes == 0) snapshot.size_bytes = volume;
  }
  return snapshot;
}

}  // namespace kiln::builder
