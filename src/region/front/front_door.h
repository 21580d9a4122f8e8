// FrontDoor: one port for all services, accounts and regions. It checks the signature, finds service, region and
// operation by the signature's scope and the account by its key, reads the request, runs its handler on the loop, and
// answers once the turn's changes are in the journal.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "host/loop.h"
#include "host/random.h"
#include "http/message.h"
#include "region/front/request_log.h"
#include "region/handlers.h"
#include "region/iam/keyring.h"
#include "region/journal.h"

namespace kiln::region {

struct FrontParts {
  host::Loop& loop;
  host::Random& random;
  Journal& journal;
  RequestLog& log;
};

class FrontDoor {
 public:
  using Answer = std::function<void(http::Response)>;
  // The handlers of an account in an AWS region; on the loop.
  using Find = std::function<const Handlers&(const std::string& account, const std::string& region)>;

  // All must outlive it. Takes the loop's turn end. `served` is what all regions serve, asked from any thread.
  FrontDoor(const FrontParts& parts, const Handlers& served, Find find, const iam::Keyring& keyring);
  ~FrontDoor();

  // From now on, calls beyond AWS's rates are refused (throttle.h).
  void throttle();

  // From any thread; `answer` is called once, on the loop's thread or on this one.
  void handle(http::Request request, Answer answer);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kiln::region
