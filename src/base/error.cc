// Errors: how an error is put in one line, and how a broken invariant ends the program.
#include "base/error.h"

#include <cstdio>
#include <cstdlib>

namespace kiln {

std::string_view to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::usage:
      return "usage";
    case ErrorCode::invalid:
      return "invalid";
    case ErrorCode::not_found:
      return "not found";
    case ErrorCode::already_exists:
      return "already exists";
    case ErrorCode::conflict:
      return "conflict";
    case ErrorCode::held:
      return "held";
    case ErrorCode::denied:
      return "denied";
    case ErrorCode::unavailable:
      return "unavailable";
    case ErrorCode::timeout:
      return "timeout";
    case ErrorCode::cancelled:
      return "cancelled";
    case ErrorCode::missing_program:
      return "missing program";
    case ErrorCode::unsupported:
      return "unsupported";
    case ErrorCode::disk_full:
      return "disk full";
    case ErrorCode::corrupt:
      return "corrupt";
    case ErrorCode::io:
      return "io";
    case ErrorCode::internal:
      return "internal";
  }
  return "unknown";
}

Error::Error(ErrorCode code, std::string message, std::string next)
    : code_(code), message_(std::move(message)), next_(std::move(next)) {
  render();
}

Error& Error::add_context(std::string attempted) {
  context_.push_back(std::move(attempted));
  render();
  return *this;
}

Error& Error::suggest(std::string next) {
  if (next_.empty()) next_ = std::move(next);
  return *this;
}

void Error::render() {
  what_.clear();
  for (auto it = context_.rbegin(); it != context_.rend(); ++it) what_ += *it + ": ";
  what_ += message_;
  what_ += " (";
  what_ += to_string(code_);
  what_ += ")";
}

void assertion_failed(const char* condition, const char* file, int line, std::string_view why) {
  std::fprintf(stderr, "kiln: broken invariant at %s:%d: %s: %.*s\n", file, line, condition,
               static_cast<int>(why.size()), why.data());
  std::abort();
}

}  // namespace kiln
