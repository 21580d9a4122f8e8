// Removal: what a run has left.
#include <algorithm>

#include <fmt/format.h>

#include "aws/client.h"
#include "aws/paginate.h"
#include "aws/wait.h"
#include "base/text.h"
#include "builder/internal/instance.h"
#include "builder/internal/words.h"

namespace kiln::builder {
namespace {

namespace ec2 = wire::ec2;

constexpr Duration kGone = std::chrono::minutes(10);

bool is_gone(const aws::AwsError& error) {
  return error.code() == ErrorCode::not_found || error.aws_code().find("NotFound") != std::string::npos ||
         error.aws_code() == "InvalidAMIID.Unavailable";
}

class Removal {
 public:
  Removal(aws::Client& client, host::Clock& clock, const std::string& run, std::string spare)
      : client_(client),
        clock_(clock),
        mine_{filter("tag:" + std::string(kTagBuilder), {run})},
        spare_(std::move(spare)) {}

  void instances() {
    std::vector<std::string> ids = living();
    spared_ = std::erase(ids, spare_) > 0;
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
      std::erase(ids, spare_);
      return aws::Seen{ids.empty(), ids.empty() ? "terminated" : "there"};
    });
  }

  void groups() {
    ec2::DescribeSecurityGroupsRequest request;
    request.filters = mine_;
    for (const auto& group : client_.call<ec2::DescribeSecurityGroups>(request).security_groups) {
      // The spared instance is in the group of its role.
      if (spared_ && str(group.group_name).starts_with(group_name(Role::test, ""))) continue;
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

  Removed take() { return {std::move(removed_), spared_}; }

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
      aws::Wait wait;
      wait.what = str(snapshot.snapshot_id) + " to be deleted";
      wait.budget = kGone;
      aws::wait_until(clock_, wait, [&] {
        try {
          client_.call<ec2::DeleteSnapshot>(removal);
        } catch (const aws::AwsError& error) {
          // It is being made, or read into an AMI that is no more.
          if (error.aws_code() == "IncorrectState") return aws::Seen{false, "in use"};
          if (!is_gone(error)) throw;
        }
        return aws::Seen{true, "deleted"};
      });
      removed_.push_back("snapshot " + str(snapshot.snapshot_id));
    }
  }

  aws::Client& client_;
  host::Clock& clock_;
  std::vector<ec2::Filter> mine_;
  std::string spare_;
  bool spared_ = false;
  std::vector<std::string> removed_;
};

}  // namespace

Removed remove_run(aws::Client& client, host::Clock& clock, const std::string& run,
                   const std::vector<std::string>& keep, const std::string& spare) {
  Removal removal(client, clock, run, spare);
  // An AMI that is being made needs its instance; without it both are given up.
  removal.images(keep);
  removal.instances();
  removal.groups();
  return removal.take();
}

}  // namespace kiln::builder
