// FrontDoor: from bytes to a handler and back.
#include "region/front/front_door.h"

#include <fmt/format.h>

#include <mutex>
#include <vector>

#include "base/error.h"
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

// Refusals of requests whose service is not known are written as EC2's.
const wire::Service& service_or_ec2(const wire::Service* service) {
  return service != nullptr ? *service : *wire::find_service("ec2");
}

}  // namespace

struct FrontDoor::State {
  State(host::Loop& on, host::Random& chance, Journal& book, const Handlers& table, RequestLog& lines,
        const iam::Keyring& keys, std::string who, std::string where)
      : loop(on),
        random(chance),
        journal(book),
        handlers(table),
        log(lines),
        keyring(keys),
        account(std::move(who)),
        region(std::move(where)),
        verifier([this](const std::string& key) -> std::optional<wire::Secret> {
          const std::optional<iam::Key> found = keyring.find(key);
          return found ? std::optional<wire::Secret>(found->secret) : std::nullopt;
        }) {}

  host::Loop& loop;
  host::Random& random;
  Journal& journal;
  const Handlers& handlers;
  RequestLog& log;
  const iam::Keyring& keyring;
  std::string account;
  std::string region;
  wire::Verifier verifier;
  std::mutex random_mutex;

  // One call on its way.
  struct Visit {
    const wire::Service* service = nullptr;
    const wire::Operation* operation = nullptr;
    std::string name;  // of the operation, as it was asked for
    std::string request_id;
    std::string access_key;
    Principal principal;
    Time began{};
    Answer answer;
  };
  // Answers of this turn; they go out when its changes are in the journal.
  std::vector<std::pair<std::shared_ptr<Visit>, http::Response>> ready;

  std::string new_request_id() {
    std::lock_guard lock(random_mutex);
    return random.uuid();
  }

  http::Response refusal(const Visit& visit, const std::string& code, const std::string& message, int status) {
    log.add(visit.began, visit.access_key, visit.service == nullptr ? "" : std::string(visit.service->signing_name),
            visit.name, loop.now() - visit.began, status, code);
    return wire::encode_error(service_or_ec2(visit.service), {code, message, visit.request_id}, status);
  }

  // A fault of our own. The user sees what went wrong here: there is nobody else to ask on this machine.
  http::Response fault(const Visit& visit, const std::string& message) {
    const bool ec2 = service_or_ec2(visit.service).protocol == wire::Protocol::ec2;
    return refusal(visit, ec2 ? "InternalError" : "InternalFailure", message, 500);
  }

  void turn_end() {
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
    if (visit.service != nullptr) visit.name = wire::peek_operation(*visit.service, request);
    wire::Verification verification = verifier.verify(request, visit.began);
    std::optional<iam::Key> key;
    if (const auto* verified = std::get_if<wire::Verified>(&verification)) {
      key = keyring.find(verified->access_key);
      // Made inactive since.
      if (!key) verification = wire::Refused{wire::AuthFailure::unknown_access_key, "The key is no longer valid."};
    }
    if (const auto* refused = std::get_if<wire::Refused>(&verification)) {
      wire::AuthError error = wire::to_error(*refused, dialect_of(service_or_ec2(visit.service)));
      throw ApiError(error.code, error.message, error.http_status);
    }
    const auto& verified = std::get<wire::Verified>(verification);
    visit.access_key = verified.access_key;
    visit.principal = key->principal;
    if (key->principal.account != account) {
      throw ApiError("AuthFailure", fmt::format("This region serves account {} only", account));
    }
    if (visit.service == nullptr) {
      throw ApiError("InvalidAction",
                     fmt::format("The service '{}' is not served by this region", verified.scope.service));
    }
    if (verified.scope.region != region && visit.service->key != "sts" && visit.service->key != "iam") {
      throw ApiError("AuthFailure", fmt::format("The request was signed for region '{}'; this region is '{}'",
                                                verified.scope.region, region));
    }
    visit.operation = visit.service->find(visit.name);
    if (visit.operation == nullptr || !handlers.serves(*visit.operation)) {
      throw ApiError("InvalidAction", fmt::format("The action {} is not valid for this web service.",
                                                  visit.name.empty() ? "(none)" : visit.name));
    }
  }

  http::Response run(const Visit& visit, const void* input) {
    try {
      const Call call{visit.request_id, visit.access_key, visit.principal.account, loop.now(), visit.principal};
      std::shared_ptr<void> output = handlers.run(*visit.operation, call, input);
      log.add(visit.began, visit.access_key, std::string(visit.service->signing_name), visit.name,
              loop.now() - visit.began, 200, "ok");
      return wire::encode_response(*visit.operation, output.get(), visit.request_id);
    } catch (const ApiError& error) {
      return refusal(visit, error.code(), error.message(), error.http_status());
    } catch (const std::exception& error) {
      return fault(visit, error.what());
    }
  }
};

FrontDoor::FrontDoor(host::Loop& loop, host::Random& random, Journal& journal, const Handlers& handlers,
                     RequestLog& log, const iam::Keyring& keyring, std::string account, std::string region)
    : state_(std::make_unique<State>(loop, random, journal, handlers, log, keyring, std::move(account),
                                     std::move(region))) {
  loop.set_turn_end([this] { state_->turn_end(); });
}

FrontDoor::~FrontDoor() { state_->loop.set_turn_end({}); }

void FrontDoor::handle(http::Request request, Answer answer) {
  State& state = *state_;
  auto visit = std::make_shared<State::Visit>();
  visit->began = state.loop.now();
  visit->request_id = state.new_request_id();
  visit->answer = std::move(answer);
  std::shared_ptr<void> input;
  try {
    state.check(request, *visit);
    input = visit->operation->make_input();
    wire::decode_request(*visit->operation, request, input.get());
    state.handlers.prepare(*visit->operation, input.get());
  } catch (const ApiError& error) {
    return visit->answer(state.refusal(*visit, error.code(), error.message(), error.http_status()));
  } catch (const wire::DecodeError& error) {
    return visit->answer(state.refusal(*visit, error.code(), error.message(), 400));
  } catch (const std::exception& error) {
    return visit->answer(state.fault(*visit, error.what()));
  }
  state.loop.post([&state, visit, input] { state.ready.emplace_back(visit, state.run(*visit, input.get())); });
}

}  // namespace kiln::region
