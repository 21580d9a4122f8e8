// Client, against this room's own server and against nobody.
#include "http/client.h"

#include <pthread.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <optional>
#include <set>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing/errors.h"
#include "http/server.h"

namespace kiln::http {
namespace {

using ::testing::HasSubstr;

Response mirror(const Request& request) {
  Response response;
  response.status = 418;
  for (const auto& [name, value] : request.headers.fields()) {
    response.headers.add("Got-" + name, value);
  }
  response.body = request.method + " " + request.path + "?" + request.query + " " + request.body;
  return response;
}

Error failure_of(Client& client, const std::string& origin, const Timeouts& timeouts = {}) {
  return testing::failure([&] { client.send(origin, Request(), timeouts); });
}

TEST(Client, SendsARequestAsItStandsAndAddsNothing) {
  Server server({}, answering(&mirror));
  server.start();
  Request request;
  request.method = "POST";
  request.path = "/a/../b%2Fc";
  request.query = "x=%20&y";
  request.body = std::string("body\0more", 9);
  request.headers.add("Host", "ec2.us-east-1.amazonaws.com");
  request.headers.add("X-Empty", "");
  request.headers.add("X-Escaped", "a%20b");
  Client client;
  Response response = client.send(server.origin(), request, {});
  EXPECT_EQ(response.status, 418);
  EXPECT_EQ(response.body, "POST /a/../b%2Fc?x=%20&y " + request.body);
  EXPECT_EQ(response.headers.get("Got-Host"), "ec2.us-east-1.amazonaws.com");
  EXPECT_TRUE(response.headers.has("Got-X-Empty"));
  EXPECT_EQ(response.headers.get("Got-X-Escaped"), "a%20b");
  EXPECT_EQ(response.headers.get("Got-Content-Length"), "9");
  for (const char* unwanted : {"Got-Accept", "Got-Content-Type", "Got-Expect", "Got-User-Agent"}) {
    EXPECT_FALSE(response.headers.has(unwanted)) << unwanted;
  }
}

TEST(Client, IsUsedByManyThreadsAtOnce) {
  Server server({}, answering(&mirror));
  server.start();
  Client client;
  std::atomic<int> good = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        Request request;
        request.path = "/" + std::to_string(t) + "-" + std::to_string(i);
        good += client.send(server.origin(), request, {}).body == "GET " + request.path + "? ";
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(good, 200);
}

TEST(Client, SaysWhereNobodyAnswers) {
  std::string origin;
  {
    Server gone({}, answering(&mirror));
    origin = gone.origin();
  }
  Client client;
  Error error = failure_of(client, origin);
  EXPECT_EQ(error.code(), ErrorCode::unavailable);
  EXPECT_THAT(error.message(), HasSubstr(origin));
  EXPECT_THAT(error.next(), HasSubstr(origin));
}

TEST(Client, GivesUpOnAServerThatIsTooSlow) {
  std::optional<Responder> held;
  Server server({}, [&](const Request&, const Responder& respond) { held = respond; });
  server.start();
  Client client;
  Error error = failure_of(client, server.origin(), {Duration(1000), Duration(30)});
  EXPECT_EQ(error.code(), ErrorCode::timeout);
  EXPECT_THAT(error.message(), HasSubstr("30ms"));
  server.stop(Duration(0));
}

TEST(Client, StopsReadingAnAnswerThatIsTooLong) {
  Server server({}, answering([](const Request&) {
                  Response response;
                  response.body = std::string(5000, 'x');
                  return response;
                }));
  server.start();
  Client::Options options;
  options.response_bytes_max = 4999;
  Client client(options);
  EXPECT_THAT(failure_of(client, server.origin()).message(), HasSubstr("more than"));
}

TEST(Client, NamesAnAddressThatIsNone) {
  Client client;
  EXPECT_EQ(failure_of(client, "ftp://127.0.0.1").code(), ErrorCode::usage);
  EXPECT_EQ(failure_of(client, "http://kiln.invalid").code(), ErrorCode::unavailable);
}

TEST(Client, NeverAsksAProxyForLoopback) {
  Server server({}, answering(&mirror));
  server.start();
  setenv("http_proxy", "http://127.0.0.1:1", 1);
  Client client;
  EXPECT_EQ(client.send(server.origin(), Request(), {}).status, 418);
  unsetenv("http_proxy");
}

TEST(Client, APeerThatHangsUpSendsNoSigpipe) {
  Server server({}, answering(&mirror));
  server.start();
  Client client;
  Streams streams;
  streams.take = [](const Response&, std::string_view) {
    ::raise(SIGPIPE);  // as a write to a peer that is gone
    return false;
  };
  EXPECT_EQ(client.stream(server.origin(), Request(), {}, streams).status, 418);
  sigset_t set;
  sigpending(&set);
  EXPECT_EQ(sigismember(&set, SIGPIPE), 0);
  pthread_sigmask(SIG_BLOCK, nullptr, &set);
  EXPECT_EQ(sigismember(&set, SIGPIPE), 0);
}

TEST(Loopback, IsToldByTheHostAlone) {
  for (const char* origin : {"http://127.0.0.1:1", "http://localhost", "https://a.localhost:3", "http://[::1]:80"}) {
    EXPECT_TRUE(is_loopback(origin)) << origin;
  }
  for (const char* origin :
       {"http://127.example.com", "http://10.0.0.1", "http://localhost.example.com", "http://[::2]", "", "http://"}) {
    EXPECT_FALSE(is_loopback(origin)) << origin;
  }
}

}  // namespace
}  // namespace kiln::http
