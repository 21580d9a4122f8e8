// main: reads what comes before the command, finds the command, and turns what climbs out of it into an exit code.
#include <fmt/format.h>

#include <csignal>
#include <cstring>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "machine/agent.h"
#include "machine/supervisor.h"

namespace kiln::cli {
namespace {

Error no_such_command(const std::string& name) {
  std::vector<std::string> names = {"help"};
  for (const CommandGroup& group : command_groups()) {
    for (const Command& command : group.commands) names.emplace_back(command.name);
  }
  auto near = nearest(name, names);
  return {ErrorCode::usage, fmt::format("there is no command '{}'", name),
          near ? fmt::format("Did you mean 'kiln {}'? See: kiln help", *near) : "See: kiln help"};
}

int print_help(const std::vector<std::string>& words) {
  if (words.empty()) {
    say(help_overview());
    return 0;
  }
  std::string_view page = help_page(words[0]);
  if (page.empty()) throw no_such_command(words[0]);
  say(trim(page));
  return 0;
}

const Command& find_command(const std::string& name) {
  for (const CommandGroup& group : command_groups()) {
    for (const Command& command : group.commands) {
      if (command.name == name) return command;
    }
  }
  throw no_such_command(name);
}

int dispatch(std::vector<std::string> words) {
  Context context;
  context.home = host::kiln_home();
  context.folder = std::filesystem::current_path();
  while (!words.empty() && words[0].starts_with("-")) {
    if (words[0] == "-C" && words.size() > 1) {
      context.folder = std::filesystem::absolute(words[1]);
      if (!std::filesystem::is_directory(context.folder)) {
        throw Error(ErrorCode::usage, fmt::format("{} is not a folder", words[1]), "Give -C the app's folder.");
      }
      words.erase(words.begin(), words.begin() + 2);
    } else if (words[0] == "--version") {
      say(fmt::format("kiln {}", kVersion));
      return 0;
    } else if (words[0] == "--help" || words[0] == "-h") {
      return print_help({});
    } else {
      throw Error(ErrorCode::usage, fmt::format("'{}' is not an option of kiln", words[0]), "See: kiln help");
    }
  }
  if (words.empty()) return print_help({});
  std::string name = words[0];
  words.erase(words.begin());
  if (name == "help") return print_help(words);
  return find_command(name).run(context, words);
}

}  // namespace
}  // namespace kiln::cli

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  std::vector<std::string> words(argv + 1, argv + argc);
  if (!words.empty() && words[0] == kiln::machine::kAgentCommand) return kiln::machine::agent_main(argc - 1, argv + 1);
  if (!words.empty() && words[0] == kiln::machine::kSupervisorCommand) {
    return kiln::machine::supervisor_main(argc - 1, argv + 1);
  }
  try {
    return kiln::cli::dispatch(std::move(words));
  } catch (const std::exception& error) {
    kiln::cli::print_error(error);
    return kiln::cli::exit_code_of(error);
  }
}
