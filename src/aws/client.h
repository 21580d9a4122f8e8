// Client: calls AWS, or a region that answers as AWS does, and keeps calling.
//
// `client.call<wire::ec2::DescribeInstances>(input)` encodes, signs, sends, tries again where AWS's SDKs would, and
// decodes. What may be sent twice: a retry after a lost answer may find its own work done. Operations with a
// ClientToken (RunInstances, CreateLaunchTemplate, CreateLaunchTemplateVersion, StartSnapshot, ...) get one here and
// are safe; names protect CreateAutoScalingGroup, CreateSecurityGroup, RegisterImage, CreateTargetGroup,
// CreateLoadBalancer and CreateListener (the second says that it exists); StartInstanceRefresh refuses a second one
// (InstanceRefreshInProgress). AwsError's `attempts` tells the caller that this may have happened.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "aws/config.h"
#include "aws/error.h"
#include "aws/retry.h"
#include "base/time.h"
#include "host/clock.h"
#include "host/random.h"
#include "http/transport.h"

namespace kiln::wire {
struct Operation;
}

namespace kiln::aws {

// One call, after its last attempt.
struct CallReport {
  std::string service;    // "ec2"
  std::string operation;  // "RunInstances"
  Duration duration{};
  int attempts = 1;
  std::string outcome;  // "ok", AWS's error code, or "unavailable" / "timeout"
};

// Safe to use from several threads. The transport, clock and random must outlive it.
class Client {
 public:
  struct Options {
    RetryPolicy retry;  // attempts_max is the config's
    http::Timeouts timeouts;
    std::string user_agent = "kiln";
    std::function<void(const CallReport&)> on_call;  // from the calling thread
    std::function<bool()> cancelled;                 // asked before each attempt: then Error(cancelled)
  };

  Client(Config config, http::Transport& transport, host::Clock& clock, host::Random& random);
  Client(Config config, http::Transport& transport, host::Clock& clock, host::Random& random, Options options);
  ~Client();

  // Throws AwsError; Error(unavailable) or Error(timeout) when nobody answered at the last attempt; Error(denied)
  // without credentials; Error(invalid) when the answer cannot be read.
  template <class Op>
  typename Op::Output call(const typename Op::Input& input) {
    typename Op::Output output;
    if constexpr (requires { input.client_token; }) {
      typename Op::Input with_token = input;
      if (!with_token.client_token) {
        with_token.client_token = new_token();
      }
      call(Op::operation(), &with_token, &output);
    } else {
      call(Op::operation(), &input, &output);
    }
    return output;
  }

  // `input` and `output` point at the operation's structures.
  void call(const wire::Operation& operation, const void* input, void* output);

  const Config& config() const;
  host::Clock& clock();

 private:
  std::string new_token();
  friend class Call;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kiln::aws
