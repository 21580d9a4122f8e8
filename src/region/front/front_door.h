// FrontDoor: one port for all services. It checks the signature, finds service and operation by the signature's scope,
// reads the request, runs its handler on the loop, and answers once the turn's changes are in the journal.
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

class FrontDoor {
 public:
  using Answer = std::function<void(http::Response)>;

  // All must outlive it. Takes the loop's turn end. `handlers` answer the calls of one account in one region.
  FrontDoor(host::Loop& loop, host::Random& random, Journal& journal, const Handlers& handlers, RequestLog& log,
            const iam::Keyring& keyring, std::string account, std::string region);
  ~FrontDoor();

  // From any thread; `answer` is called once, on the loop's thread or on this one.
  void handle(http::Request request, Answer answer);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kiln::region
