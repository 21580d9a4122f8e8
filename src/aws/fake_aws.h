// FakeAws: a Transport that plays a script and checks every signature as AWS does; stricter than a server would be.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "aws/config.h"
#include "base/error.h"
#include "host/clock.h"
#include "http/date.h"
#include "http/transport.h"
#include "wire/codec.h"
#include "wire/sigv4.h"

namespace kiln::aws {

class FakeAws final : public http::Transport {
 public:
  using Answer = std::function<http::Response(const http::Request&)>;

  explicit FakeAws(host::Clock& clock) : clock_(clock) {}

  // What comes next; a request beyond the script is a failure of the test.
  FakeAws& then(Answer answer) {
    script_.push_back(std::move(answer));
    return *this;
  }
  template <class Op>
  FakeAws& then_ok(const typename Op::Output& output) {
    return then([output](const http::Request&) { return wire::encode_response(Op::operation(), &output, "r-ok"); });
  }
  FakeAws& then_error(const wire::Service& service, const std::string& code, int status) {
    return then([&service, code, status](const http::Request&) {
      return wire::encode_error(service, {code, "because", "r-error"}, status);
    });
  }
  FakeAws& then_nobody(ErrorCode code) {
    return then([code](const http::Request&) -> http::Response { throw Error(code, "nobody answers at http://h:1"); });
  }

  http::Response send(const std::string& origin, const http::Request& request, const http::Timeouts&) override {
    origins.push_back(origin);
    requests.push_back(request);
    if (script_.empty()) {
      ADD_FAILURE() << "a request too many: " << request.body;
      throw Error(ErrorCode::internal, "the script is over");
    }
    Answer answer = std::move(script_.front());
    script_.pop_front();
    http::Response response = answer(request);
    response.headers.set("Date", http::format_date(now()));
    return response;
  }

  // Answers as AWS does when its clock finds the signature too old.
  FakeAws& then_verified(const wire::Service& service, Answer good) {
    return then([this, &service, good = std::move(good)](const http::Request& request) {
      auto result = verifier.verify(request, now());
      if (auto* refused = std::get_if<wire::Refused>(&result)) {
        auto error = to_error(
            *refused, service.protocol == wire::Protocol::ec2 ? wire::AuthDialect::ec2 : wire::AuthDialect::query);
        return wire::encode_error(service, {error.code, error.message, "r-auth"}, error.http_status);
      }
      return good(request);
    });
  }

  Time now() const { return clock_.now() + ahead; }

  Duration ahead{};  // AWS's clock before ours
  std::vector<http::Request> requests;
  std::vector<std::string> origins;
  wire::Verifier verifier{[](const std::string& key) -> std::optional<wire::Secret> {
    if (key != "AKIATEST") {
      return std::nullopt;
    }
    return wire::Secret{"secret", "", std::nullopt};
  }};

 private:
  host::Clock& clock_;
  std::deque<Answer> script_;
};

inline Config test_config(std::vector<std::pair<std::string, std::string>> more = {}) {
  return Config::load([more](const std::string& name) -> std::string {
    for (const auto& [key, value] : more) {
      if (key == name) {
        return value;
      }
    }
    return name == "AWS_ACCESS_KEY_ID"       ? "AKIATEST"
           : name == "AWS_SECRET_ACCESS_KEY" ? "secret"
           : name == "AWS_REGION"            ? "us-east-1"
           : name == "AWS_ENDPOINT_URL"      ? "http://127.0.0.1:4577"
           : name == "HOME"                  ? "/nonexistent"
                                             : "";
  });
}

}  // namespace kiln::aws
