// Client: one call, from the structure to the answer, with its retries.
#include "aws/client.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>

#include <fmt/format.h>

#include "base/error.h"
#include "http/client.h"
#include "http/date.h"
#include "wire/codec.h"
#include "wire/shape.h"

namespace kiln::aws {

namespace {

// botocore's: clocks that differ by less are not why a signature was refused.
constexpr Duration skew_noticed(4 * 60'000);
// How long the user's wish to stop may go unheard in a backoff.
constexpr Duration cancel_interval(1000);

std::string host_of(const std::string& origin) { return origin.substr(origin.find("://") + 3); }

bool nobody_answered(const Error& error) {
  return error.code() == ErrorCode::unavailable || error.code() == ErrorCode::timeout;
}

}  // namespace

struct Client::State {
  State(Config given, http::Transport& sender, host::Clock& time, host::Random& chance, Options chosen)
      : config(std::move(given)), transport(sender), clock(time), random(chance), options(std::move(chosen)) {
    options.retry.attempts_max = config.attempts_max();
  }

  const Config config;
  http::Transport& transport;
  host::Clock& clock;
  host::Random& random;
  Options options;
  std::mutex random_mutex;
  RetryQuota quota;
  std::atomic<std::int64_t> clock_offset_ms{0};  // what AWS's clock is ahead of ours, as far as known
};

namespace {

// What came of one attempt.
struct Outcome {
  bool retry = false;
  int retry_cost = RetryQuota::retry_cost;
  std::string code;  // AWS's, or of Error
  std::exception_ptr failure;
};

}  // namespace

// One call under way.
class Call {
 public:
  Call(Client::State& state, const wire::Operation& operation, const void* input, void* output)
      : state_(state), operation_(operation), service_(*operation.service), input_(input), output_(output) {}

  void run() {
    const Duration start = state_.clock.uptime();
    Outcome outcome;
    try {
      outcome = attempts();
    } catch (const Error& error) {
      outcome.code = to_string(error.code());
      outcome.failure = std::current_exception();
    }
    if (state_.options.on_call) {
      state_.options.on_call({std::string(service_.key), std::string(operation_.name), state_.clock.uptime() - start,
                              attempt_, outcome.failure ? outcome.code : "ok"});
    }
    if (outcome.failure) {
      std::rethrow_exception(outcome.failure);
    }
  }

 private:
  Outcome attempts() {
    origin_ = state_.config.endpoint(std::string(service_.id), std::string(service_.endpoint_prefix));
    unsigned_ = wire::encode_request(operation_, input_);
    unsigned_.headers.set("Host", host_of(origin_));
    unsigned_.headers.set("User-Agent", state_.options.user_agent);
    int taken = 0;  // of the quota, by the last retry
    for (;; ++attempt_) {
      check_cancelled();
      Outcome outcome = once();
      if (!outcome.failure) {
        state_.quota.give_back(taken > 0 ? taken : 1);
        return outcome;
      }
      if (skew_corrected_now_) {
        skew_corrected_now_ = false;
        continue;
      }
      if (!outcome.retry || attempt_ >= state_.options.retry.attempts_max || !state_.quota.take(outcome.retry_cost)) {
        return outcome;
      }
      taken = outcome.retry_cost;
      pause();
    }
  }

  Outcome once() {
    const wire::SigningScope scope{state_.config.region(), std::string(service_.signing_name)};
    http::Request request = unsigned_;
    wire::sign(request, state_.config.credentials(), scope,
               state_.clock.now() + Duration(state_.clock_offset_ms.load()));
    http::Response response;
    try {
      response = state_.transport.send(origin_, request, state_.options.timeouts);
    } catch (const Error& error) {
      if (!nobody_answered(error)) {
        throw;
      }
      return unanswered(error);
    }
    if (response.status >= 200 && response.status < 300) {
      with_context(label(), [&] { wire::decode_response(operation_, response, output_); });
      return {};
    }
    return refused(response);
  }

  Outcome unanswered(const Error& error) const {
    const std::string next = http::is_loopback(origin_)
                                 ? "start the region with `kiln region start`, or correct AWS_ENDPOINT_URL"
                                 : fmt::format("check the network, and that {} is the endpoint you mean", origin_);
    Error climbing(error.code(), error.message(), next);
    climbing.add_context(attempt_ > 1 ? fmt::format("{}, {} attempts", label(), attempt_) : label());
    Outcome outcome;
    outcome.retry = true;
    outcome.retry_cost = error.code() == ErrorCode::timeout ? RetryQuota::timeout_cost : RetryQuota::retry_cost;
    outcome.code = to_string(error.code());
    outcome.failure = std::make_exception_ptr(climbing);
    return outcome;
  }

  Outcome refused(const http::Response& response) {
    wire::ErrorAnswer answer =
        wire::decode_error(service_, response)
            .value_or(wire::ErrorAnswer{
                fmt::format("HttpError{}", response.status),
                fmt::format("{} answered with status {} and no AWS error", origin_, response.status), ""});
    correct_skew(answer.code, response);
    const ErrorCode code = classify(answer.code, response.status);
    std::string next;
    if (is_clock_skew(answer.code)) {
      next = "correct this machine's clock";
    } else if (code == ErrorCode::denied) {
      next = fmt::format("check the credentials; they come from: {}", state_.config.credentials_source());
    }
    Outcome outcome;
    outcome.retry = is_throttling(answer.code) || is_transient(answer.code, response.status);
    outcome.code = answer.code;
    outcome.failure =
        std::make_exception_ptr(AwsError(code,
                                         {std::string(service_.key), std::string(operation_.name), answer.code,
                                          answer.message, answer.request_id, response.status, attempt_},
                                         next));
    return outcome;
  }

  // Learns AWS's clock from the answer's Date, once a call.
  void correct_skew(const std::string& code, const http::Response& response) {
    if (skew_corrected_ || (!is_clock_skew(code) && !may_be_clock_skew(code))) {
      return;
    }
    std::optional<Time> theirs = http::parse_date(response.headers.get("date"));
    if (!theirs) {
      return;
    }
    const Duration offset = *theirs - state_.clock.now();
    const Duration change = offset - Duration(state_.clock_offset_ms.load());
    if (std::chrono::abs(change) >= skew_noticed) {
      state_.clock_offset_ms = offset.count();
      skew_corrected_ = skew_corrected_now_ = true;
    }
  }

  void pause() {
    Duration left;
    {
      std::lock_guard lock(state_.random_mutex);
      left = backoff(state_.options.retry, attempt_, state_.random);
    }
    while (left > Duration::zero()) {
      check_cancelled();
      Duration slice = state_.options.cancelled ? std::min(left, cancel_interval) : left;
      state_.clock.sleep(slice);
      left -= slice;
    }
  }

  void check_cancelled() const {
    if (state_.options.cancelled && state_.options.cancelled()) {
      throw Error(ErrorCode::cancelled, label() + ": cancelled");
    }
  }

  std::string label() const { return fmt::format("{} {}", service_.key, operation_.name); }

  Client::State& state_;
  const wire::Operation& operation_;
  const wire::Service& service_;
  const void* input_;
  void* output_;
  std::string origin_;
  http::Request unsigned_;
  int attempt_ = 1;
  bool skew_corrected_ = false;
  bool skew_corrected_now_ = false;
};

Client::Client(Config config, http::Transport& transport, host::Clock& clock, host::Random& random)
    : Client(std::move(config), transport, clock, random, Options()) {}

Client::Client(Config config, http::Transport& transport, host::Clock& clock, host::Random& random, Options options)
    : state_(std::make_unique<State>(std::move(config), transport, clock, random, std::move(options))) {}

Client::~Client() = default;

void Client::call(const wire::Operation& operation, const void* input, void* output) {
  Call(*state_, operation, input, output).run();
}

const Config& Client::config() const { return state_->config; }

host::Clock& Client::clock() { return state_->clock; }

std::string Client::new_token() {
  std::lock_guard lock(state_->random_mutex);
  return state_->random.uuid();
}

}  // namespace kiln::aws
