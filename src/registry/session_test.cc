// Session: who we are, tries again, redirects.
#include "registry/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing/errors.h"
#include "registry/testing/fake_registry.h"

namespace kiln::registry {
namespace {

using testing::failure;
using ::testing::HasSubstr;
using Answer = FakeRegistry::Answer;

Answer status(int code, const std::string& body = "") {
  Answer answer;
  answer.status = code;
  answer.body = body;
  return answer;
}

Answer with_header(Answer answer, const std::string& name, const std::string& value) {
  answer.headers.add(name, value);
  return answer;
}

class SessionTest : public ::testing::Test {
 protected:
  Connect connect(bool plain = true) {
    Connect connect;
    connect.plain_http = plain;
    connect.env = [this](const char* name) -> std::optional<std::string> {
      const auto found = env_.find(name);
      return found == env_.end() ? std::nullopt : std::optional(found->second);
    };
    connect.cancelled = [this] { return cancelled_.load(); };
    return connect;
  }
  Session session(bool plain = true) { return {fake_.name(), connect(plain), clock_, random_}; }
  static Call call(const std::string& url = "/v2/a/manifests/1") {
    Call call;
    call.url = url;
    call.scopes = {{"a", "pull"}};
    return call;
  }
  void log_in() {
    env_ = {{"KILN_REGISTRY_HOST", fake_.name()}, {"KILN_REGISTRY_USER", "ana"}, {"KILN_REGISTRY_PASSWORD", "pw"}};
  }
  // Asks for tokens of a service on the same port, and takes those that are `good`.
  void ask_for_tokens(int expires_in = 300) {
    fake_.script = [this, expires_in](const http::Request& request) -> std::optional<Answer> {
      if (request.path == "/token") {
        token_queries_.push_back(request.query + " " + std::string(request.headers.get("Authorization")));
        return status(token_status_, fmt::format(R"({{"token":"t{}","expires_in":{}}})", ++tokens_, expires_in));
      }
      const std::string wanted = "Bearer t" + std::to_string(good_token_ == 0 ? tokens_ : good_token_);
      if (tokens_ > 0 && request.headers.get("Authorization") == wanted) return status(200, "yes");
      return with_header(status(401), "WWW-Authenticate",
                         fmt::format(R"(Bearer realm="http://{}/token",service="reg istry",scope="x")", fake_.name()));
    };
  }

  std::map<std::string, std::string> env_;
  std::atomic<bool> cancelled_{false};
  std::atomic<int> tokens_{0}, good_token_{0}, token_status_{200};
  std::vector<std::string> token_queries_;
  host::SimulatedClock clock_{Time(Duration(1'700'000'000'000))};
  host::SeededRandom random_{1};
  FakeRegistry fake_;  // last: its threads use what is above
};

TEST_F(SessionTest, SpeaksPlainHttpWithARegistryOnLoopbackThatHasNoTls) {
  Session session = this->session(false);
  fake_.script = [](const http::Request&) { return status(200, "yes"); };
  EXPECT_EQ(session.call(call()).body, "yes");
  EXPECT_EQ(session.origin(), "http://" + fake_.name());
}

TEST_F(SessionTest, AnswersBasicOnlyWhenItIsAskedFor) {
  log_in();
  fake_.script = [](const http::Request& request) {
    if (request.headers.get("Authorization") == "Basic " + base64_encode("ana:pw")) return status(200);
    EXPECT_FALSE(request.headers.has("Authorization"));
    return with_header(status(401), "WWW-Authenticate", "Basic realm=\"r\"");
  };
  Session session = this->session();
  EXPECT_EQ(session.call(call()).status, 200);
  EXPECT_EQ(session.call(call()).status, 200);
  EXPECT_EQ(fake_.asked().size(), 3U);
}

TEST_F(SessionTest, ATokenIsAskedForOnceAndUsedUntilItExpires) {
  log_in();
  ask_for_tokens();
  Session session = this->session();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(session.call(call()).body, "yes");
  EXPECT_EQ(tokens_, 1);
  EXPECT_EQ(token_queries_[0], "service=reg%20istry&scope=repository%3Aa%3Apull Basic " + base64_encode("ana:pw"));
  clock_.advance(Duration(295'000));
  EXPECT_EQ(session.call(call()).body, "yes");
  EXPECT_EQ(tokens_, 2);
  // One that the registry has taken back.
  good_token_ = 3;
  EXPECT_EQ(session.call(call()).body, "yes");
  EXPECT_EQ(tokens_, 3);
}

TEST_F(SessionTest, A401WithoutEndIsAnErrorAfterTwoTokens) {
  log_in();
  ask_for_tokens();
  good_token_ = 99;
  Session session = this->session();
  const Error error = failure([&] { session.call(call()); });
  EXPECT_EQ(error.code(), ErrorCode::denied);
  EXPECT_THAT(error.what(), HasSubstr("KILN_REGISTRY_USER"));
  EXPECT_THAT(error.next(), HasSubstr("login"));
  EXPECT_EQ(tokens_, 2);
}

TEST_F(SessionTest, ATokenServiceThatFailsIsNamed) {
  ask_for_tokens();
  token_status_ = 500;
  Session session = this->session();
  const Error trouble = failure([&] { session.call(call()); });
  EXPECT_EQ(trouble.code(), ErrorCode::unavailable);
  EXPECT_THAT(trouble.what(), HasSubstr("asking http://" + fake_.name() + " for a token"));
  token_status_ = 401;
  const Error refused = failure([&] { session.call(call()); });
  EXPECT_EQ(refused.code(), ErrorCode::denied);
  EXPECT_THAT(refused.what(), HasSubstr("without credentials"));
}

TEST_F(SessionTest, ATokenServiceWithoutTokensOrWithoutEncryptionIsRefused) {
  std::string realm = "http://" + fake_.name() + "/token";
  fake_.script = [&](const http::Request& request) {
    if (request.path == "/token") return status(200, R"({"token":"a\r\nX: y"})");
    return with_header(status(401), "WWW-Authenticate", "Bearer realm=\"" + realm + "\"");
  };
  Session session = this->session();
  EXPECT_EQ(failure([&] { session.call(call()); }).code(), ErrorCode::invalid);
  realm = "http://auth.example/token";
  Session encrypted = this->session(false);
  const Error error = failure([&] { encrypted.call(call()); });
  EXPECT_EQ(error.code(), ErrorCode::denied);
  EXPECT_THAT(error.what(), HasSubstr("no secret goes there"));
}

TEST_F(SessionTest, TroubleThatPassesIsWaitedOut) {
  int asked = 0;
  fake_.script = [&](const http::Request&) {
    ++asked;
    if (asked == 1) return with_header(status(429), "Retry-After", "7");
    return status(asked < 4 ? 503 : 200);
  };
  Session session = this->session();
  const Duration before = clock_.uptime();
  EXPECT_EQ(session.call(call()).status, 200);
  EXPECT_EQ(asked, 4);
  EXPECT_GE(clock_.uptime() - before, Duration(7000 + 1000 + 2000));
  EXPECT_LE(clock_.uptime() - before, Duration(12'000));
}

TEST_F(SessionTest, TroubleThatStaysIsAnErrorWithTheRegistrysWords) {
  fake_.script = [](const http::Request&) {
    return status(503, R"({"errors":[{"code":"UNAVAILABLE","message":"down \u0007for tea"}]})");
  };
  Session session = this->session();
  const Error error = failure([&] { session.call(call()); });
  EXPECT_EQ(error.code(), ErrorCode::unavailable);
  EXPECT_THAT(error.what(), HasSubstr("UNAVAILABLE: down  for tea"));
  EXPECT_EQ(fake_.asked().size(), 6U);
}

TEST_F(SessionTest, AConnectionThatBreaksIsTriedAgain) {
  int asked = 0;
  fake_.script = [&](const http::Request&) {
    Answer answer = status(200, "whole");
    if (++asked < 3) answer.cut_after = 2;
    return answer;
  };
  EXPECT_EQ(session().call(call()).body, "whole");
}

TEST_F(SessionTest, AnAddressWhereNobodyAnswersIsLeftSoon) {
  std::string nobody;
  {
    FakeRegistry gone;
    nobody = gone.name();
  }
  Session session(nobody, connect(), clock_, random_);
  const Duration before = clock_.uptime();
  EXPECT_EQ(failure([&] { session.call(call()); }).code(), ErrorCode::unavailable);
  EXPECT_LT(clock_.uptime() - before, Duration(2000));
}

TEST_F(SessionTest, ARedirectToAnotherHostGoesWithoutSecrets) {
  log_in();
  FakeRegistry other;
  other.script = [](const http::Request& request) {
    EXPECT_FALSE(request.headers.has("Authorization"));
    EXPECT_EQ(request.query, "signed=1");
    return status(200, "bytes");
  };
  fake_.script = [&](const http::Request& request) {
    if (!request.headers.has("Authorization")) return with_header(status(401), "WWW-Authenticate", "Basic realm=r");
    return with_header(status(307), "Location", "http://" + other.name() + "/blob?signed=1");
  };
  EXPECT_EQ(session().call(call()).body, "bytes");
}

TEST_F(SessionTest, RedirectsInACircleEnd) {
  fake_.script = [](const http::Request& request) { return with_header(status(302), "Location", request.path); };
  Session session = this->session();
  Call once = call();
  once.tries = 1;
  const Error error = failure([&] { session.call(once); });
  EXPECT_EQ(error.code(), ErrorCode::unavailable);
  EXPECT_THAT(error.what(), HasSubstr("from one place to the next"));
  EXPECT_EQ(fake_.asked().size(), 6U);
}

TEST_F(SessionTest, CtrlCEndsAWait) {
  fake_.script = [this](const http::Request&) {
    cancelled_ = true;
    return with_header(status(503), "Retry-After", "60");
  };
  Session session = this->session();
  const Duration before = clock_.uptime();
  EXPECT_EQ(failure([&] { session.call(call()); }).code(), ErrorCode::cancelled);
  EXPECT_LT(clock_.uptime() - before, Duration(1000));
}

TEST_F(SessionTest, AForbiddenCallIsNotTriedAgain) {
  fake_.script = [](const http::Request&) { return status(403, R"({"errors":[{"code":"DENIED"}]})"); };
  Session session = this->session();
  const Error error = failure([&] { session.call(call()); });
  EXPECT_EQ(error.code(), ErrorCode::denied);
  EXPECT_THAT(error.what(), HasSubstr("without credentials (403): DENIED"));
  EXPECT_EQ(fake_.asked().size(), 1U);
}

TEST_F(SessionTest, AFileThatIsNoCertificateIsRefused) {
  host::TemporaryFolder folder("session-test-");
  host::write_file(folder.path() / "ca.pem", "not one");
  env_["KILN_REGISTRY_CA"] = folder.path() / "ca.pem";
  EXPECT_EQ(failure([&] { session(); }).code(), ErrorCode::usage);
}

}  // namespace
}  // namespace kiln::registry
