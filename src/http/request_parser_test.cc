// RequestParser: whole, in pieces, and what must be refused.
#include "http/request_parser.h"

#include <gtest/gtest.h>

namespace kiln::http {
namespace {

using Status = RequestParser::Status;

const std::string form = "POST /a%20b?x=%2F HTTP/1.1\r\nHost: h\r\nX-Odd:  a%20b \t\r\nContent-Length: 5\r\n\r\nhello";
const std::string chunked =
    "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: "
    "x\r\n\r\n";

int refused_with(const std::string& text, ParserLimits limits = {}) {
  RequestParser parser(limits);
  return parser.feed(text) == Status::failed ? parser.failure().status : 0;
}

TEST(RequestParser, ReadsARequestAsItWasSent) {
  RequestParser parser({});
  ASSERT_EQ(parser.feed(form), Status::ready);
  Request request = parser.take();
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.path, "/a%20b");
  EXPECT_EQ(request.query, "x=%2F");
  EXPECT_EQ(request.headers.get("x-odd"), "a%20b");
  EXPECT_EQ(request.body, "hello");
  EXPECT_TRUE(parser.keep_alive());
  EXPECT_FALSE(parser.in_request());
}

TEST(RequestParser, ReadsTheSameWhereverTheBytesAreCut) {
  for (const std::string& text : {form, chunked}) {
    for (std::size_t cut = 0; cut < text.size(); ++cut) {
      RequestParser parser({});
      ASSERT_EQ(parser.feed(text.substr(0, cut)), Status::need_more) << cut;
      ASSERT_EQ(parser.feed(text.substr(cut)), Status::ready) << cut;
      EXPECT_EQ(parser.take().body, text == form ? "hello" : "hello world");
    }
    RequestParser parser({});
    for (std::size_t i = 0; i + 1 < text.size(); ++i) {
      ASSERT_EQ(parser.feed(text.substr(i, 1)), Status::need_more) << i;
    }
    EXPECT_EQ(parser.feed(text.substr(text.size() - 1)), Status::ready);
  }
}

TEST(RequestParser, KeepsTheNextRequestUntilTheFirstIsTaken) {
  RequestParser parser({});
  ASSERT_EQ(parser.feed(form + chunked + "GET"), Status::ready);
  EXPECT_EQ(parser.take().method, "POST");
  EXPECT_TRUE(parser.in_request());
  ASSERT_EQ(parser.feed({}), Status::ready);
  EXPECT_EQ(parser.take().body, "hello world");
  EXPECT_EQ(parser.feed({}), Status::need_more);
  EXPECT_TRUE(parser.in_request());
}

TEST(RequestParser, AsksForTheBodyOnceWhenTheClientWaits) {
  RequestParser parser({});
  EXPECT_EQ(parser.feed("PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"),
            Status::need_more);
  EXPECT_TRUE(parser.take_expects_continue());
  EXPECT_FALSE(parser.take_expects_continue());
  EXPECT_EQ(parser.feed("x"), Status::ready);
}

TEST(RequestParser, EndsTheConnectionWhenAskedTo) {
  RequestParser parser({});
  parser.feed("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, Close\r\n\r\n");
  EXPECT_FALSE(parser.keep_alive());
  RequestParser old({});
  EXPECT_EQ(old.feed("GET / HTTP/1.0\r\n\r\n"), Status::ready);
  EXPECT_FALSE(old.keep_alive());
}

TEST(RequestParser, RefusesWhatCouldBeReadInTwoWays) {
  EXPECT_EQ(refused_with("GET / HTTP/1.1\r\n\r\n"), 400);
  EXPECT_EQ(refused_with("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), 400);
  EXPECT_EQ(refused_with("GET / HTTP/1.1\r\nHost : a\r\n\r\n"), 400);
  EXPECT_EQ(refused_with("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n"), 400);
  EXPECT_EQ(refused_with("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"), 400);
  EXPECT_EQ(refused_with("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n"), 400);
  EXPECT_EQ(refused_with("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
  EXPECT_EQ(refused_with("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"), 501);
  EXPECT_EQ(refused_with("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n"), 400);
  EXPECT_EQ(refused_with("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n"), 400);
  EXPECT_EQ(refused_with(std::string("GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", 30)), 400);
}

TEST(RequestParser, RefusesWhatIsNotHttp) {
  EXPECT_EQ(refused_with("\x16\x03\x01\x02\n"), 400);
  EXPECT_EQ(refused_with("GET /\r\n"), 400);
  EXPECT_EQ(refused_with("GET a b HTTP/1.1\r\n"), 400);
  EXPECT_EQ(refused_with("GET / HTTP/2.0\r\n"), 505);
}

TEST(RequestParser, RefusesWhatIsLongerThanItsLimits) {
  ParserLimits limits{100, 200, 10};
  const std::string start = "POST / HTTP/1.1\r\nHost: a\r\n";
  EXPECT_EQ(refused_with("GET /" + std::string(100, 'a'), limits), 414);
  EXPECT_EQ(refused_with(start + "A: " + std::string(200, 'a'), limits), 431);
  EXPECT_EQ(refused_with(start + "A: " + std::string(90, 'a') + "\r\nB: " + std::string(100, 'b') + "\r\n", limits),
            431);
  EXPECT_EQ(refused_with(start + "Content-Length: 11\r\n\r\n", limits), 413);
  EXPECT_EQ(refused_with(start + "Content-Length: 99999999999999999999999\r\n\r\n", limits), 413);
  EXPECT_EQ(refused_with(start + "Content-Length: 10\r\n\r\n", limits), 0);
  EXPECT_EQ(refused_with(start + "Transfer-Encoding: chunked\r\n\r\n6\r\nsixsix\r\n5\r\n", limits), 413);
  EXPECT_EQ(refused_with(start + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", limits), 400);
  std::string many = start;
  for (int i = 0; i < 300; ++i) {
    many += "A:b\r\n";
  }
  EXPECT_EQ(refused_with(many), 431);
}

}  // namespace
}  // namespace kiln::http
