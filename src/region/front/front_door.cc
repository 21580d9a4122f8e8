// FrontDoor: from bytes to a handler and back.
#include "region/front/front_door.h"

#include <fmt/format.h>

#include <mutex>
#include <utility>
#include <vector>

#include "base/error.h"
#include "region/aws_regions.h"
#include "region/front/throttle.h"
#include "wire/codec.h"
#include "wire/sigv4.h"

namespace kiln::region {
namespace {

wire::AuthDialect dialect_of(const wire::Service& service) {
  switch (service.protocol) {
    case wire::Protocol::ec2:
      return wire::AuthDialect::ec2;
    case wire::Protocol::query:
      return wire::AuthDialect::query;
    case wire::Protocol::json:
      return wire::AuthDialect::json;
  }
  return wire::AuthDialect::query;
}

// A service that is not known is refused in the protocol that its request looks like: JSON's when it names a target or
// carries JSON, EC2's otherwise.
const wire::Service& protocol_of(const http::Request& request) {
  const bool json =
      request.headers.has("X-Amz-Target") || request.headers.get("Content-Type").find("json") != std::string_view::npos;
  return *wire::find_service(json ? "ssm" : "ec2");
}

// What AWS's services call an action that they do not have.
const char* unknown_action(const wire::Service& service) {
  return service.protocol == wire::Protocol::json ? "UnknownOperationException" : "InvalidAction";
}

}  // namespace

struct FrontDoor::State {
  State(const FrontParts& parts, const Handlers& all, Find lookup, const iam::Keyring& keys)
      : loop(parts.loop),
        random(parts.random),
        journal(parts.journal),
        log(parts.log),
        served(all),
        find(std::move(lookup)),
        keyring(keys),
        verifier([this](const std::string& key) -> std::optional<wire::Secret> {
          const std::optional<iam::Key> found = keyring.find(key);
          return found ? std::optional<wire::Secret>(found->secret) : std::nullopt;
        }) {}

  host::Loop& loop;
  host::Random& random;
  Journal& journal;
  RequestLog& log;
  const Handlers& served;
  Find find;
  const iam::Keyring& keyring;
  std::optional<Throttle> throttle;
  wire::Verifier verifier;
  std::mutex random_mutex;

  // One call on its way.
  struct Visit {
    const wire::Service* service = nullptr;   // null: none of ours
    const wire::Service* language = nullptr;  // in whose protocol it is answered
    const wire::Operation* operation = nullptr;
    std::string name;  // of the operation, as it was asked for
    std::string request_id;
    std::string access_key;
    Principal principal;
    std::string region;
    Time began{};
    Answer answer;
    std::shared_ptr<void> input;
    const Handlers* handlers = nullptr;  // of account and region; once it is on the loop
    Duration patience{0};                // uptime until which its answer may be held
  };
  // Those whose answer waits for something to settle.
  std::vector<std::shared_ptr<Visit>> held;
  // Answers of this turn; they go out when its changes are in the journal.
  std::vector<std::pair<std::shared_ptr<Visit>, http::Response>> ready;

  std::string new_request_id() {
    std::lock_guard lock(random_mutex);
    return random.uuid();
  }

  void note(const Visit& visit, int status, const std::string& outcome) {
    log.add({visit.began, visit.access_key, visit.region,
             visit.service == nullptr ? "" : std::string(visit.service->signing_name), visit.name,
             loop.now() - visit.began, status, outcome});
  }

  http::Response refusal(const Visit& visit, const std::string& code, const std::string& message, int status) {
    note(visit, status, code);
    return wire::encode_error(*visit.language, {code, message, visit.request_id}, status);
  }

  http::Response throttled(const Visit& visit) {
    switch (visit.service->protocol) {
      case wire::Protocol::ec2:
        return refusal(visit, "RequestLimitExceeded", "Request limit exceeded.", 503);
      case wire::Protocol::query:
        return refusal(visit, "Throttling", "Rate exceeded", 400);
      case wire::Protocol::json:
        break;
    }
    return refusal(visit, "ThrottlingException", "Rate exceeded", 400);
  }

  // A fault of our own. The user sees what went wrong here: there is nobody else to ask on this machine.
  http::Response fault(const Visit& visit, const std::string& message) {
    const bool ec2 = visit.language->protocol == wire::Protocol::ec2;
    return refusal(visit, ec2 ? "InternalError" : "InternalFailure", message, 500);
  }

  // On the loop.
  void take(const std::shared_ptr<Visit>& visit) {
    if (throttle && !throttle->take(visit->principal.account, visit->region, *visit->operation, visit->input.get(),
                                    loop.clock().uptime())) {
      ready.emplace_back(visit, throttled(*visit));
      return;
    }
    visit->handlers = &find(visit->principal.account, visit->region);
    if (visit->handlers->settled(*visit->operation, visit->input.get())) return answer(visit);
    const Duration most = visit->handlers->patience(*visit->operation);
    visit->patience = loop.clock().uptime() + most;
    held.push_back(visit);
    loop.after(most, [] {});  // a turn, at whose end it is looked at for the last time
  }

  void answer(const std::shared_ptr<Visit>& visit) { ready.emplace_back(visit, run(*visit)); }

  void look_at_held() {
    for (const std::shared_ptr<Visit>& visit : std::exchange(held, {})) {
      if (loop.clock().uptime() < visit->patience && !visit->handlers->settled(*visit->operation, visit->input.get())) {
        held.push_back(visit);
      } else {
        answer(visit);
      }
    }
  }

  void turn_end() {
    look_at_held();
    std::vector<std::pair<std::shared_ptr<Visit>, http::Response>> out;
    out.swap(ready);
    try {
      journal.commit();
    } catch (const Error& error) {
      for (auto& [visit, response] : out) visit->answer(fault(*visit, error.what()));
      throw;  // what we know is ahead of what is kept: the process must end
    }
    for (auto& [visit, response] : out) visit->answer(std::move(response));
  }

  // Who asks for what; throws ApiError.
  void check(const http::Request& request, Visit& visit) {
    std::optional<wire::SigningScope> scope = wire::claimed_scope(request);
    if (scope) visit.service = wire::find_service(scope->service);
    if (visit.service != nullptr) visit.language = visit.service;
    visit.name = wire::peek_operation(*visit.language, request);
    wire::Verification verification = verifier.verify(request, visit.began);
    std::optional<iam::Key> key;
    if (const auto* verified = std::get_if<wire::Verified>(&verification)) {
      key = keyring.find(verified->access_key);
      // Made inactive since.
      if (!key) verification = wire::Refused{wire::AuthFailure::unknown_access_key, "The key is no longer valid."};
    }
    if (const auto* refused = std::get_if<wire::Refused>(&verification)) {
      wire::AuthError error = wire::to_error(*refused, dialect_of(*visit.language));
      throw ApiError(error.code, error.message, error.http_status);
    }
    const auto& verified = std::get<wire::Verified>(verification);
    visit.access_key = verified.access_key;
    visit.principal = key->principal;
    if (visit.service == nullptr) {
      throw ApiError(unknown_action(*visit.language),
                     fmt::format("The service '{}' is not served by this region", verified.scope.service));
    }
    visit.region = verified.scope.region;
    if (find_aws_region(visit.region) == nullptr) {
      throw ApiError("AuthFailure",
                     fmt::format("The request was signed for '{}', which is no AWS region", visit.region));
    }
    visit.operation = visit.service->find(visit.name);
    if (visit.operation == nullptr || !served.serves(*visit.operation)) {
      throw ApiError(unknown_action(*visit.language), fmt::format("The action {} is not valid for this web service.",
                                                                  visit.name.empty() ? "(none)" : visit.name));
    }
  }

  http::Response run(const Visit& visit) {
    try {
      const Call call{visit.request_id, visit.access_key, visit.principal.account,
                      visit.region,     loop.now(),       visit.principal};
      std::shared_ptr<void> output = visit.handlers->run(*visit.operation, call, visit.input.get());
      note(visit, 200, "ok");
      return wire::encode_response(*visit.operation, output.get(), visit.request_id);
    } catch (const ApiError& error) {
      return refusal(visit, error.code(), error.message(), error.http_status());
    } catch (const std::exception& error) {
      return fault(visit, error.what());
    }
  }
};

FrontDoor::FrontDoor(const FrontParts& parts, const Handlers& served, Find find, const iam::Keyring& keyring)
    : state_(std::make_unique<State>(parts, served, std::move(find), keyring)) {
  parts.loop.set_turn_end([this] { state_->turn_end(); });
}

void FrontDoor::throttle() { state_->throttle.emplace(); }

FrontDoor::~FrontDoor() { state_->loop.set_turn_end({}); }

void FrontDoor::handle(http::Request request, Answer answer) {
  State& state = *state_;
  auto visit = std::make_shared<State::Visit>();
  visit->began = state.loop.now();
  visit->request_id = state.new_request_id();
  visit->answer = std::move(answer);
  visit->language = &protocol_of(request);
  try {
    state.check(request, *visit);
    visit->input = visit->operation->make_input();
    wire::decode_request(*visit->operation, request, visit->input.get());
    state.served.prepare(*visit->operation, visit->input.get());
  } catch (const ApiError& error) {
    return visit->answer(state.refusal(*visit, error.code(), error.message(), error.http_status()));
  } catch (const wire::DecodeError& error) {
    return visit->answer(state.refusal(*visit, error.code(), error.message(), 400));
  } catch (const std::exception& error) {
    return visit->answer(state.fault(*visit, error.what()));
  }
  state.loop.post([&state, visit] { state.take(visit); });
}

}  // namespace kiln::region
