// Errors: what failed, why, and what to do next.
//
// One exception type climbs through all rooms. Where a call crosses a room's border, the caller adds what it was
// attempting with `add_context` and lets it climb. Callers match on `code()`, never on text. Broken invariants abort:
// KILN_ASSERT.
#pragma once

#include <exception>
#include <string>
#include <string_view>
#include <vector>

namespace kiln {

enum class ErrorCode {
  usage,            // the command line or a file that the user wrote is wrong
  invalid,          // a value that another program sent is wrong
  not_found,        // the thing that was named does not exist
  already_exists,   // the thing to be made exists with other content
  conflict,         // the thing is in a state that does not allow this now
  held,             // somebody else holds it (a lease, a lock, a port)
  denied,           // no permission, wrong credentials, no root
  unavailable,      // the other side does not answer, or asks to come again
  timeout,          // a wait's budget ran out
  cancelled,        // the user asked to stop
  missing_program,  // a program of the host that Kiln needs is not installed
  unsupported,      // this host or this version cannot do it
  disk_full,        // no space left
  corrupt,          // bytes do not match their digest or their format
  io,               // the operating system refused
  internal,         // a bug
};

std::string_view to_string(ErrorCode code);

class Error : public std::exception {
 public:
  // `message` names the thing and the value; `next` is one sentence that tells the user what to do, or is empty.
  Error(ErrorCode code, std::string message, std::string next = {});

  ErrorCode code() const { return code_; }
  const std::string& message() const { return message_; }
  const std::string& next() const { return next_; }
  // What was being attempted, innermost first.
  const std::vector<std::string>& context() const { return context_; }
  Error& add_context(std::string attempted);
  // Sets `next` unless a deeper room, which knows better, has set it.
  Error& suggest(std::string next);

  // "deploying web: launching i-0a1b: no space left on /var (io)"; one line, outermost context first.
  const char* what() const noexcept override { return what_.c_str(); }

 private:
  void render();

  ErrorCode code_;
  std::string message_;
  std::string next_;
  std::vector<std::string> context_;
  std::string what_;
};

// Runs `body`; adds `attempted` to any Error that leaves it.
template <typename Body>
auto with_context(std::string attempted, Body&& body) -> decltype(body()) {
  try {
    return body();
  } catch (Error& error) {
    error.add_context(std::move(attempted));
    throw;
  }
}

[[noreturn]] void assertion_failed(const char* condition, const char* file, int line, std::string_view why);

}  // namespace kiln

// A broken invariant: prints where and why, and aborts. On in release builds too.
#define KILN_ASSERT(condition, why)                                    \
  do {                                                                 \
    if (!(condition)) {                                                \
      ::kiln::assertion_failed(#condition, __FILE__, __LINE__, (why)); \
    }                                                                  \
  } while (false)
