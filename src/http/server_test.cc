// Server: real sockets on loopback.
#include "http/server.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <condition_variable>
#include <mutex>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing/errors.h"
#include "host/file.h"

namespace kiln::http {
namespace {

using testing::failure;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class Peer {
 public:
  explicit Peer(std::uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  void write(std::string_view text) {
    EXPECT_EQ(send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  // The server may have closed it already.
  void try_write(std::string_view text) { send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL); }
  // Until `until` has been seen, or the end.
  std::string read(const std::string& until) {
    std::string text;
    char buffer[4096];
    pollfd wait{fd_.get(), POLLIN, 0};
    while (text.find(until) == std::string::npos && poll(&wait, 1, 10'000) == 1) {
      ssize_t count = recv(fd_.get(), buffer, sizeof buffer, 0);
      if (count <= 0) {
        return text + "<end>";
      }
      text.append(buffer, static_cast<std::size_t>(count));
    }
    return text;
  }
  std::string read_all() { return read("<never>"); }

 private:
  host::FileDescriptor fd_;
};

Response echo(const Request& request) {
  Response response;
  response.headers.add("X-Peer", request.peer);
  response.body = request.method + " " + request.path + " " + request.query + " " + request.body + ".";
  return response;
}

Server::Options quick() {
  Server::Options options;
  options.threads = 2;
  return options;
}

TEST(Server, ServesOnASocketThatListensAlready) {
  host::FileDescriptor listener = listen_on("127.0.0.1", 0);
  Server server(quick(), std::move(listener), answering(&echo));
  server.start();
  Peer peer(server.port());
  peer.write("GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_THAT(peer.read("."), StartsWith("HTTP/1.1 200 OK\r\n"));
}

TEST(Server, OneAddressHasSoManyConnectionsAndGetsThemBack) {
  Server::Options options = quick();
  options.peer_connections_max = 2;
  Server server(options, answering(&echo));
  server.start();
  const std::string get = "GET /x HTTP/1.1\r\nHost: h\r\n\r\n";
  Peer first(server.port());
  first.write(get);
  EXPECT_THAT(first.read("/x  ."), HasSubstr("200 OK"));
  {
    Peer second(server.port());
    second.write(get);
    EXPECT_THAT(second.read("/x  ."), HasSubstr("200 OK"));
    Peer third(server.port());
    EXPECT_EQ(third.read_all(), "<end>");
  }
  // The server sees an end when it comes to it.
  std::string answer;
  for (int tried = 0; tried < 1000 && answer.find("200 OK") == std::string::npos; ++tried) {
    Peer again(server.port());
    again.try_write(get);
    answer = again.read("/x  .");
  }
  EXPECT_THAT(answer, HasSubstr("200 OK"));
}

TEST(Server, AnswersManyRequestsOnOneConnection) {
  Server server(quick(), answering(&echo));
  server.start();
  Peer peer(server.port());
  for (int i = 0; i < 100; ++i) {
    peer.write("POST /x?y=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nok");
    std::string answer = peer.read("ok.");
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
    EXPECT_THAT(answer, HasSubstr("X-Peer: 127.0.0.1\r\n"));
    EXPECT_THAT(answer, HasSubstr("\r\nDate: "));
    EXPECT_THAT(answer, HasSubstr("\r\n\r\nPOST /x y=1 ok."));
  }
}

TEST(Server, AnswersRequestsThatCameTogetherInTheirOrder) {
  Server server(quick(), answering(&echo));
  server.start();
  Peer peer(server.port());
  peer.write(
      "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\nGET /3 HTTP/1.1\r\nHost: h\r\nConnection: "
      "close\r\n\r\n");
  std::string answer = peer.read_all();
  std::size_t first = answer.find("GET /1"), second = answer.find("GET /2"), third = answer.find("GET /3");
  EXPECT_LT(first, second);
  EXPECT_LT(second, third);
  EXPECT_THAT(answer, HasSubstr("Connection: close"));
  EXPECT_THAT(answer, HasSubstr("<end>"));
}

TEST(Server, ServesOthersWhileTwoHundredConnectionsAreIdleAndOneRequestHangs) {
  std::optional<Responder> held;
  std::mutex mutex;
  std::condition_variable came;
  Server server(quick(), [&](Request request, Responder respond) {
    if (request.path == "/hang") {
      std::lock_guard lock(mutex);
      held = respond;
      came.notify_one();
      return;
    }
    respond(echo(request));
  });
  server.start();
  std::vector<std::unique_ptr<Peer>> idle;
  for (int i = 0; i < 200; ++i) {
    idle.push_back(std::make_unique<Peer>(server.port()));
  }
  idle[7]->write("GET /hang HTTP/1.1\r\nHost: h\r\n\r\n");
  {
    std::unique_lock lock(mutex);
    came.wait(lock, [&] { return held.has_value(); });
  }
  Peer peer(server.port());
  peer.write("GET /other HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_THAT(peer.read("GET /other"), HasSubstr("200 OK"));
  Response late;
  late.body = "late";
  (*held)(late);
  EXPECT_THAT(idle[7]->read("late"), HasSubstr("\r\n\r\nlate"));
}

TEST(Server, AsksForABodyThatTheClientHoldsBack) {
  Server server(quick(), answering(&echo));
  server.start();
  Peer peer(server.port());
  peer.write("PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n");
  EXPECT_EQ(peer.read("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  peer.write("3\r\nabc\r\n0\r\n\r\n");
  EXPECT_THAT(peer.read("abc."), HasSubstr("200 OK"));
}

TEST(Server, TellsAClientThatSendsTooMuchAndThenEnds) {
  Server::Options options = quick();
  options.body_bytes_max = 10;
  Server server(options, answering(&echo));
  server.start();
  Peer peer(server.port());
  peer.write("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n" + std::string(100'000, 'x'));
  std::string answer = peer.read_all();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 413 "));
  EXPECT_THAT(answer, HasSubstr("longer than 10 bytes"));
}

TEST(Server, EndsARequestThatNeverComesWhole) {
  Server::Options options = quick();
  options.read_timeout = Duration(20);
  Server server(options, answering(&echo));
  server.start();
  Peer peer(server.port());
  peer.write("GET / HTTP/1.1\r\nHo");
  EXPECT_THAT(peer.read_all(), StartsWith("HTTP/1.1 408 "));
}

TEST(Server, ClosesAnIdleConnectionWithoutAWord) {
  Server::Options options = quick();
  options.idle_timeout = Duration(20);
  Server server(options, answering(&echo));
  server.start();
  Peer peer(server.port());
  EXPECT_EQ(peer.read_all(), "<end>");
}

TEST(Server, TurnsAwayOneConnectionTooMany) {
  Server::Options options = quick();
  options.connections_max = 1;
  Server server(options, answering(&echo));
  server.start();
  Peer first(server.port());
  first.write("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_THAT(first.read("GET /"), HasSubstr("200 OK"));
  Peer second(server.port());
  EXPECT_THAT(second.read_all(), StartsWith("HTTP/1.1 503 "));
}

TEST(Server, Answers500WhenTheHandlerThrowsOrForgets) {
  Server server(quick(), [](const Request& request, const Responder&) {
    if (request.path == "/throw") {
      throw std::runtime_error("secret");
    }
  });
  server.start();
  Peer peer(server.port());
  for (const char* path : {"/throw", "/forget"}) {
    peer.write(std::string("GET ") + path + " HTTP/1.1\r\nHost: h\r\n\r\n");
    std::string answer = peer.read("\r\n\r\n");
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 500 "));
    EXPECT_EQ(answer.find("secret"), std::string::npos);
  }
}

TEST(Server, SendsNoBodyForHeadAndNoHeaderInsideAValue) {
  Server server(quick(), answering([](const Request&) {
                  Response response;
                  response.headers.add("X-Odd", "a\r\nSet-Cookie: b");
                  response.body = "body";
                  return response;
                }));
  server.start();
  Peer peer(server.port());
  peer.write("HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  std::string answer = peer.read_all();
  EXPECT_THAT(answer, HasSubstr("Content-Length: 4\r\n"));
  EXPECT_THAT(answer, HasSubstr("X-Odd: a  Set-Cookie: b\r\n"));
  EXPECT_THAT(answer, HasSubstr("\r\n\r\n<end>"));
}

TEST(Server, WritesAnAnswerThatIsLargerThanTheSocketsBuffer) {
  Server server(quick(), answering([](const Request&) {
                  Response response;
                  response.body = std::string(20'000'000, 'x') + "last";
                  return response;
                }));
  server.start();
  Peer peer(server.port());
  peer.write("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  std::string answer = peer.read_all();
  EXPECT_GT(answer.size(), 20'000'000u);
  EXPECT_TRUE(answer.ends_with("last<end>"));
}

TEST(Server, FinishesTheRequestUnderWayWhenItIsStopped) {
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<Responder> held;
  Server server(quick(), [&](const Request&, const Responder& respond) {
    std::lock_guard lock(mutex);
    held = respond;
    changed.notify_one();
  });
  server.start();
  Peer busy(server.port()), idle(server.port());
  busy.write("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return held.has_value(); });
  std::thread stopping([&] { server.stop(Duration(10'000)); });
  EXPECT_EQ(idle.read_all(), "<end>");
  Response done;
  done.body = "done";
  (*held)(done);
  stopping.join();
  EXPECT_THAT(busy.read_all(), HasSubstr("done"));
  (*held)(done);  // a second answer, and one after the end, do nothing
}

TEST(Server, NamesThePortAndTheProcessThatHoldsIt) {
  Server first(quick(), answering(&echo));
  Server::Options options = quick();
  options.port = first.port();
  const Error error = failure([&] { Server second(options, answering(&echo)); });
  EXPECT_EQ(error.code(), ErrorCode::held);
  EXPECT_THAT(error.message(), HasSubstr("port " + std::to_string(first.port())));
  EXPECT_THAT(error.message(), HasSubstr("(pid " + std::to_string(getpid()) + ")"));
  EXPECT_FALSE(error.next().empty());
}

TEST(Server, RefusesAnAddressThatIsNotOurs) {
  for (const char* host : {"localhost", "203.0.113.1"}) {
    Server::Options options = quick();
    options.host = host;
    const Error error = failure([&] { Server server(options, answering(&echo)); });
    EXPECT_EQ(error.code(), ErrorCode::invalid);
    EXPECT_THAT(error.message(), HasSubstr(host));
  }
}

}  // namespace
}  // namespace kiln::http
