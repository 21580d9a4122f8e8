// Context: the terminal's side of every command.
#include "cli/context.h"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"

namespace kiln::cli {
namespace {

void on_interrupt(int) {
  if (Context::interrupted().exchange(true)) ::_exit(130);
}

}  // namespace

std::atomic<bool>& Context::interrupted() {
  static std::atomic<bool> flag{false};
  return flag;
}

void Context::watch_interrupts() {
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

std::string Context::actor() const {
  char host[256] = "";
  ::gethostname(host, sizeof host - 1);
  const char* sudo_user = std::getenv("SUDO_USER");
  const passwd* user = ::getpwuid(::getuid());
  std::string name = sudo_user != nullptr ? sudo_user : user != nullptr ? user->pw_name : std::to_string(::getuid());
  return name + "@" + host;
}

void say(std::string_view line) {
  fmt::print("{}\n", line);
  std::fflush(stdout);
}

void talk(std::string_view line) {
  const std::string whole = std::string(line) + "\n";
  std::fwrite(whole.data(), 1, whole.size(), stderr);
}

void say_json(const nlohmann::json& object) {
  say(object.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

void print_error(const std::exception& error) {
  const auto* ours = dynamic_cast<const Error*>(&error);
  if (ours == nullptr) {
    talk(fmt::format("kiln: {}", error.what()));
    return;
  }
  // The outermost attempt first, then each step down to the cause.
  std::string message = ours->message();
  const auto& context = ours->context();
  // What was interrupted has not failed.
  if (context.empty() || ours->code() == ErrorCode::cancelled) {
    talk("kiln: " + message);
  } else {
    talk("kiln: failed " + context.back());
    for (std::size_t i = context.size() - 1; i-- > 0;) talk("  while " + context[i]);
    talk("  why: " + message);
  }
  if (!ours->next().empty()) talk("  next: " + ours->next());
}

int exit_code_of(const std::exception& error) {
  const auto* ours = dynamic_cast<const Error*>(&error);
  if (ours == nullptr) return 1;
  switch (ours->code()) {
    case ErrorCode::usage:
      return 2;
    case ErrorCode::held:
      return 5;
    case ErrorCode::cancelled:
      return 130;
    default:
      return 1;
  }
}

}  // namespace kiln::cli
