// Instance: the calls of one instance of a run, from its launch to its image, and what a run has left.
#pragma once

#include <string>
#include <vector>

#include "builder/builder.h"
#include "machine/machine.h"
#include "wire/ec2.h"

namespace kiln::builder {

// The AMI that the recipe starts from: DescribeImages' newest for a Debian release, what AmiBase says, or where the
// image of the catalog is placed here. Throws Error(usage) quoting the image for a base that an instance cannot have,
// Error(not_found).
std::string base_ami(Site& site, const spec::App& app);

// What an instance is for; in the names of it and of its security group.
enum class Role { builder, test };
std::string group_name(Role role, const std::string& run);

class Instance {
 public:
  // `run` is in the tags of all that is made. `options` must outlive it.
  // An `id`: one that runs already.
  Instance(Site& site, Role role, std::string app, std::string run, const InstanceOptions& options, std::string id = {})
      : site_(site), role_(role), app_(std::move(app)), run_(std::move(run)), options_(options), id_(std::move(id)) {}

  // Until Systems Manager reaches it. Throws Error(io) when it ends instead, Error(timeout).
  void launch(const std::string& ami, const std::vector<wire::ec2::BlockDeviceMapping>& volumes = {});
  const std::string& id() const { return id_; }

  // Runs a script for /bin/sh as root; at most 24,000 characters of what it writes come back. What went wrong with it
  // is said by the answer. Throws Error(cancelled), AwsError.
  machine::CommandEnd ask(const std::string& script, const std::string& comment, Duration most);
  // The same for a step: returns what it wrote. Throws Error(io) with its last lines when it fails.
  std::string run(const std::string& script, const std::string& comment);
  // All of what a script writes to stdout, whatever its size: kept in the instance and fetched in pieces. Throws
  // Error(io) with its last lines when it fails, Error(unsupported) for more than a bound.
  std::string read(const std::string& script, const std::string& comment);

  std::string state() const;
  std::string address() const;  // in its subnet
  std::string console() const;
  void stop();  // until it is stopped
  // Until it is available. `tags` are the AMI's and its snapshot's.
  std::string create_image(const std::string& name, const std::map<std::string, std::string>& tags);
  std::string volume_at(const std::string& device) const;  // its id; Error(io) when it has none there
  // Of a volume that it has, until it is completed.
  std::string create_snapshot(const std::string& device, const std::map<std::string, std::string>& tags);
  // An AMI of snapshots, until it is available.
  std::string register_image(wire::ec2::RegisterImageRequest request, const std::string& name,
                             const std::map<std::string, std::string>& tags);

 private:
  void wait_until_available(const std::string& ami);
  std::string make_group();
  std::string vpc_of_subnet() const;
  std::string name() const;
  void wait_until_reached();

  Site& site_;
  Role role_;
  std::string app_;
  std::string run_;
  const InstanceOptions& options_;
  std::string id_;
};

// A script as one line that holds nothing of it as it stands: Systems Manager takes braces for variables of its own,
// and /run may be mounted without the right to execute.
std::string as_command(const std::string& script);

// The root snapshot of an AMI, and what it holds: as EBS counts it, else the size of its volume.
struct Snapshot {
  std::string id;
  std::uint64_t size_bytes = 0;
};
Snapshot snapshot_of(aws::Client& client, const std::string& ami);

struct Removed {
  std::vector<std::string> what;
  bool spared = false;  // the instance that was to be spared is still there
};
// Removes what carries the run's tag, without AMIs that `keep` names, and without the instance `spare` and its group.
Removed remove_run(aws::Client& client, host::Clock& clock, const std::string& run,
                   const std::vector<std::string>& keep, const std::string& spare = {});

}  // namespace kiln::builder
