// Instance: the calls of one run: a builder instance from launch to image, and what a run has left.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "builder/builder.h"

namespace kiln::builder {

// The AMI that the recipe starts from: DescribeImages' newest for a Debian release, or what AmiBase says. Throws
// Error(usage) quoting the image for a base that an instance cannot have, Error(not_found).
std::string base_ami(aws::Client& client, const spec::App& app);

class Run {
 public:
  // `run` is in the tags of all that is made.
  Run(Site& site, const Request& request, std::string run) : site_(site), request_(request), run_(std::move(run)) {}

  void launch(const std::string& ami);  // until Systems Manager reaches it
  // Runs a script; returns what it wrote. Throws Error(io) with its last lines when it fails.
  std::string command(const std::string& script, const std::string& comment);
  void stop();
  // Until it is available. `tags` are the AMI's and its snapshot's.
  std::string create_image(const std::map<std::string, std::string>& tags);
  void tag(const std::string& resource, const std::map<std::string, std::string>& tags);
  std::string snapshot_of(const std::string& ami);

 private:
  std::string make_group();
  std::string vpc_of_subnet() const;
  std::string state() const;
  void note(const std::string& text) const;

  Site& site_;
  const Request& request_;
  std::string run_;
  std::string instance_;
};

// What carries the run's tag, without AMIs that `keep` names. Removes it and says what that was.
std::vector<std::string> remove_run(aws::Client& client, host::Clock& clock, const std::string& run,
                                    const std::vector<std::string>& keep);

}  // namespace kiln::builder
