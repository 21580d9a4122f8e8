// RequestParser: bytes of a connection to HTTP/1.1 requests, a piece at a time.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "http/message.h"

namespace kiln::http {

struct ParserLimits {
  std::size_t line_bytes_max = std::size_t{64} << 10;
  std::size_t header_bytes_max = std::size_t{64} << 10;
  std::size_t body_bytes_max = std::size_t{16} << 20;
};

// What the request was refused for; the connection cannot go on after it.
struct ParseFailure {
  int status = 400;
  std::string why;
};

// Strict where two readings of one message would differ (RFC 9112, section 6.3 and 11.2): a body has either one
// Content-Length or chunks, header names have no space before the colon, lines are not folded.
class RequestParser {
 public:
  explicit RequestParser(const ParserLimits& limits) : limits_(limits) {}

  enum class Status { need_more, ready, failed };
  // Takes more bytes. Bytes of a following request are kept for it.
  Status feed(std::string_view bytes);
  // When ready: the request; the parser then starts on the bytes that are left (call `feed({})`).
  Request take();
  const ParseFailure& failure() const { return failure_; }

  // The headers are read, the client waits for "100 Continue" before it sends the body. True once a request.
  bool take_expects_continue();
  // The request last taken lets the connection be used again.
  bool keep_alive() const { return keep_alive_; }
  // Some bytes of a request have come, but not all.
  bool in_request() const { return stage_ != Stage::line || position_ < buffer_.size(); }

 private:
  enum class Stage { line, headers, body_length, chunk_size, chunk_data, chunk_end, trailers, ready, failed };

  bool step();
  bool next_line(std::string_view& line, std::size_t limit, int status, const char* what);
  bool read_line_of_request();
  bool read_header();
  bool headers_done();
  bool read_body();
  bool read_chunk_size();
  bool fail(int status, std::string why);

  ParserLimits limits_;
  Stage stage_ = Stage::line;
  std::string buffer_;
  std::size_t position_ = 0;  // what is before it was taken
  std::size_t scanned_ = 0;   // no line end before it
  std::size_t header_bytes_ = 0;
  std::size_t body_left_ = 0;
  Request request_;
  ParseFailure failure_;
  bool http_1_0_ = false;
  bool keep_alive_ = true;
  bool expects_continue_ = false;
};

}  // namespace kiln::http
