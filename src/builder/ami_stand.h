// AmiStand: an image is tried as an instance of its AMI, by calls of EC2 and Systems Manager alone.
//
// What checks ask goes by AWS-RunShellScript. Nothing can come in from outside: HTTP checks are asked in the instance,
// of its own address in the subnet. The instance has the run's tag, so that `sweep` removes it, whatever ends the
// process.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "builder/builder.h"
#include "trial/stand.h"

namespace kiln::builder {

struct AmiStandOptions {
  std::string app;
  std::string run;
  std::string ami;
  std::string secrets;  // what was found on its disk before anything ran (disk.h)
  std::string what;     // for whoever finds it: "web@1.4.2"
  InstanceOptions instance{};
};

class AmiStand final : public trial::Stand {
 public:
  // `site` must outlive it.
  AmiStand(Site& site, AmiStandOptions options);
  ~AmiStand() override;

  void boot() override;
  machine::CommandEnd ask(const machine::Command& command) override;
  http::Response fetch(int port, const http::Request& request, Duration timeout) override;
  std::vector<std::string> secrets(const std::vector<std::string>& except) const override;
  std::string console() const override;

  // Writes builder.kept: no sweep removes it. Returns its id; empty when it was not launched.
  std::string keep();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

// A script for bash that sends an HTTP/1.0 request and prints the answer as it comes; and that answer, read. Throws
// Error(unavailable) for what is none.
std::string http_question(const std::string& address, int port, const http::Request& request, Duration timeout);
http::Response read_http(const std::string& answer);

}  // namespace kiln::builder
