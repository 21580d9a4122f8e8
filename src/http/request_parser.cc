// RequestParser: bytes of a connection to HTTP/1.1 requests.
#include "http/request_parser.h"

#include <algorithm>
#include <charconv>

#include "base/text.h"

namespace kiln::http {

namespace {

// A request of more fields than this is an attack; the bytes are bounded too, but each field costs more than its bytes.
constexpr std::size_t fields_max = 200;
// "ffffffff" and an extension or two.
constexpr std::size_t chunk_line_bytes_max = 256;

bool is_token_char(char c) {
  constexpr std::string_view others = "!#$%&'*+-.^_`|~";
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         others.find(c) != std::string_view::npos;
}

bool is_token(std::string_view text) { return !text.empty() && std::all_of(text.begin(), text.end(), is_token_char); }

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) { return (c >= 0 && c < ' ' && c != '\t') || c == 127; });
}

std::optional<std::size_t> parse_number(std::string_view text, int base) {
  std::size_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

bool has_word(std::string_view list, std::string_view word) {
  for (const std::string& part : split(list, ',')) {
    if (to_lower(trim(part)) == word) {
      return true;
    }
  }
  return false;
}

}  // namespace

RequestParser::Status RequestParser::feed(std::string_view bytes) {
  if (stage_ != Stage::failed) {
    buffer_.append(bytes);
    while (stage_ != Stage::ready && stage_ != Stage::failed && step()) {
    }
  }
  // What was taken goes away at once, so that a connection holds no more than it must.
  buffer_.erase(0, position_);
  scanned_ = scanned_ > position_ ? scanned_ - position_ : 0;
  position_ = 0;
  return stage_ == Stage::ready ? Status::ready : stage_ == Stage::failed ? Status::failed : Status::need_more;
}

Request RequestParser::take() {
  Request request = std::move(request_);
  request_ = Request();
  stage_ = Stage::line;
  header_bytes_ = body_left_ = 0;
  expects_continue_ = false;
  return request;
}

bool RequestParser::take_expects_continue() { return std::exchange(expects_continue_, false); }

bool RequestParser::fail(int status, std::string why) {
  failure_ = {status, std::move(why)};
  stage_ = Stage::failed;
  return false;
}

// One step forward; false when bytes are missing or the request is wrong.
bool RequestParser::step() {
  switch (stage_) {
    case Stage::line:
      return read_line_of_request();
    case Stage::headers:
    case Stage::trailers:
      return read_header();
    case Stage::body_length:
    case Stage::chunk_data:
      return read_body();
    case Stage::chunk_size:
    case Stage::chunk_end:
      return read_chunk_size();
    case Stage::ready:
    case Stage::failed:
      break;
  }
  return false;
}

// A line without its end: CR LF, or LF alone, which RFC 9112 section 2.2 lets a server take.
bool RequestParser::next_line(std::string_view& line, std::size_t limit, int status, const char* what) {
  std::size_t end = buffer_.find('\n', std::max(position_, scanned_));
  scanned_ = buffer_.size();
  if (std::min(end, buffer_.size()) - position_ > limit) {
    return fail(status, std::string(what) + " is longer than " + std::to_string(limit) + " bytes");
  }
  if (end == std::string::npos) {
    return false;
  }
  line = std::string_view(buffer_).substr(position_, end - position_);
  if (line.ends_with('\r')) {
    line.remove_suffix(1);
  }
  position_ = end + 1;
  scanned_ = position_;
  return true;
}

bool RequestParser::read_line_of_request() {
  std::string_view line;
  if (!next_line(line, limits_.line_bytes_max, 414, "the request line")) {
    return false;
  }
  if (line.empty()) {
    return true;  // empty lines before a request are skipped (RFC 9112, section 2.2)
  }
  std::size_t first = line.find(' ');
  std::size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last || !is_token(line.substr(0, first))) {
    return fail(400, "the request line is not: method, target, version");
  }
  std::string_view version = line.substr(last + 1);
  if (version != "HTTP/1.1" && version != "HTTP/1.0") {
    return version.starts_with("HTTP/") ? fail(505, "only HTTP/1.1 is served")
                                        : fail(400, "the request line does not end in a version");
  }
  http_1_0_ = version == "HTTP/1.0";
  std::string_view target = line.substr(first + 1, last - first - 1);
  // A proxy's form, "http://host/path": the authority says no more than Host does.
  if (target.starts_with("http://") || target.starts_with("https://")) {
    std::size_t slash = target.find('/', target.find("//") + 2);
    target = slash == std::string_view::npos ? std::string_view("/") : target.substr(slash);
  }
  if ((!target.starts_with('/') && target != "*") || target.find(' ') != std::string_view::npos ||
      has_control(target)) {
    return fail(400, "the request's target is not a path");
  }
  request_.method = std::string(line.substr(0, first));
  target = target.substr(0, target.find('#'));
  std::size_t question = std::min(target.find('?'), target.size());
  request_.path = std::string(target.substr(0, question));
  request_.query = question < target.size() ? std::string(target.substr(question + 1)) : "";
  stage_ = Stage::headers;
  return true;
}

bool RequestParser::read_header() {
  std::string_view line;
  if (!next_line(line, limits_.header_bytes_max, 431, "a header field")) {
    return false;
  }
  header_bytes_ += line.size() + 2;
  if (header_bytes_ > limits_.header_bytes_max || request_.headers.fields().size() > fields_max) {
    return fail(431, "the header fields are more than " + std::to_string(limits_.header_bytes_max) + " bytes or " +
                         std::to_string(fields_max) + " fields");
  }
  if (line.empty()) {
    if (stage_ == Stage::trailers) {
      stage_ = Stage::ready;
      return true;
    }
    return headers_done();
  }
  std::size_t colon = line.find(':');
  if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) {
    return fail(400, "a header field has no name");
  }
  std::string_view value = trim(line.substr(colon + 1));
  if (has_control(value)) {
    return fail(400, "a header field holds control characters");
  }
  if (stage_ == Stage::headers) {  // trailers are read and dropped: nothing served needs one
    request_.headers.add(std::string(line.substr(0, colon)), std::string(value));
  }
  return true;
}

bool RequestParser::headers_done() {
  const Headers& headers = request_.headers;
  int hosts = 0, lengths = 0;
  for (const auto& [name, value] : headers.fields()) {
    std::string lower = to_lower(name);
    hosts += lower == "host";
    lengths += lower == "content-length";
  }
  if (hosts > 1 || (hosts == 0 && !http_1_0_)) {
    return fail(400, "a request has one Host field");
  }
  keep_alive_ = !http_1_0_ && !has_word(headers.get("connection"), "close");
  const bool chunked = headers.has("transfer-encoding");
  if (chunked && to_lower(trim(headers.get("transfer-encoding"))) != "chunked") {
    return fail(501, "the only transfer coding served is chunked");
  }
  if (lengths > 1 || (lengths == 1 && chunked) || (chunked && http_1_0_)) {
    return fail(400, "the body's length is given twice");
  }
  if (lengths == 1) {
    std::string_view text = headers.get("content-length");
    auto length = parse_number(text, 10);
    if (!length) {
      return text.size() > 15 && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; })
                 ? fail(413, "the body is too long")
                 : fail(400, "Content-Length is not a number");
    }
    body_left_ = *length;
  }
  if (body_left_ > limits_.body_bytes_max) {
    return fail(413, "the body is longer than " + std::to_string(limits_.body_bytes_max) + " bytes");
  }
  stage_ = chunked ? Stage::chunk_size : body_left_ > 0 ? Stage::body_length : Stage::ready;
  expects_continue_ = stage_ != Stage::ready && to_lower(headers.get("expect")) == "100-continue";
  return true;
}

bool RequestParser::read_body() {
  std::size_t count = std::min(body_left_, buffer_.size() - position_);
  if (stage_ == Stage::body_length && request_.body.empty()) {
    request_.body.reserve(std::min(body_left_, std::size_t{1} << 20));
  }
  request_.body.append(buffer_, position_, count);
  position_ += count;
  body_left_ -= count;
  if (body_left_ > 0) {
    return false;
  }
  stage_ = stage_ == Stage::body_length ? Stage::ready : Stage::chunk_end;
  return true;
}

bool RequestParser::read_chunk_size() {
  std::string_view line;
  if (!next_line(line, chunk_line_bytes_max, 400, "a chunk's first line")) {
    return false;
  }
  if (stage_ == Stage::chunk_end) {
    if (!line.empty()) {
      return fail(400, "a chunk is longer than it says");
    }
    stage_ = Stage::chunk_size;
    return true;
  }
  auto size = parse_number(trim(line.substr(0, line.find(';'))), 16);
  if (!size) {
    return fail(400, "a chunk's size is not a number");
  }
  if (*size > limits_.body_bytes_max - request_.body.size()) {
    return fail(413, "the body is longer than " + std::to_string(limits_.body_bytes_max) + " bytes");
  }
  body_left_ = *size;
  stage_ = *size == 0 ? Stage::trailers : Stage::chunk_data;
  return true;
}

}  // namespace kiln::http
