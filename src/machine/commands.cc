// Commands: see internal/commands.h.
#include "machine/internal/commands.h"

#include <fmt/format.h>

#include <csignal>

#include "base/error.h"
#include "machine/agent.h"
#include "machine/internal/quick_file.h"

namespace kiln::machine {
namespace {

constexpr Duration kSoon{10};  // between looks at a command that is young: most end at once
constexpr Duration kYoung{5'000};
constexpr Duration kSeldom{200};
constexpr Duration kPatience{30'000};   // with an agent, over the command's own times
constexpr Duration kCancelMax{15'000};  // from the wish to cancel until its agent is ended

void check_command_id(const std::string& id) {
  constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-";
  if (!id.empty() && id.size() <= 64 && id.find_first_not_of(kAllowed) == std::string::npos) return;
  throw Error(ErrorCode::invalid, fmt::format("\"{}\" is no id of a command", id));
}

std::optional<host::ProcessRef> agent_of(const host::Path& folder) {
  const auto text = read_quick_file(folder / "agent");
  return text ? host::ProcessRef::parse(*text) : std::nullopt;
}

// What is not there is nothing; the folder may go with its machine at any time.
std::optional<CommandEnd> end_of(const host::Path& folder) {
  const auto text = read_quick_file(folder / "end");
  return text ? std::optional(parse_end(*text)) : std::nullopt;
}

}  // namespace

Commands::Commands(host::Loop& loop, Place place) : loop_(loop), place_(std::move(place)) {}

void Commands::close() {
  loop_.cancel(timer_);
  running_.clear();
}

void Commands::run(const std::string& machine, const Command& command, CommandDone done) {
  check_command_id(command.id);
  const Key key{machine, command.id};
  if (running_.contains(key)) {
    throw Error(ErrorCode::already_exists, fmt::format("command {} runs in {} already", command.id, machine));
  }
  Running& made = running_[key];
  made.done = std::move(done);
  made.since = loop_.clock().uptime();
  made.deadline = made.since + command.delivery + command.timeout + kPatience;
  made.agent = agent_of(folder(key));
  // Begun before this process was. An agent that died before init can have heard of it has begun nothing.
  const bool begun = std::filesystem::exists(folder(key) / "asked") || std::filesystem::exists(folder(key) / "end");
  if (made.agent && (begun || host::alive(*made.agent))) return watch();
  made.agent.reset();
  std::filesystem::remove(folder(key) / "agent");
  begin(key, command);
}

void Commands::begin(const Key& key, const Command& command) {
  std::vector<std::string> argv = own_program(place_);
  argv.insert(argv.end(), {kAgentCommand, place_.folder(key.first).string(), key.second});
  auto agent = std::make_shared<host::ProcessRef>();
  loop_.offload(
      [folder = folder(key), machine = place_.folder(key.first), command, argv, agent] {
        host::make_folders(folder, 0700);
        write_quick_file(folder / "command", render_command(command));
        host::Daemon daemon;
        daemon.argv = argv;
        daemon.output = (machine / "supervisor.log").string();
        *agent = host::spawn_daemon(daemon);
      },
      [weak = weak_from_this(), key, agent](std::exception_ptr failure) {
        const auto self = weak.lock();
        if (!self) return;
        const auto found = self->running_.find(key);
        if (found == self->running_.end()) return;
        if (failure) {
          CommandEnd end;
          end.how = CommandEnd::How::undelivered;
          return self->end(key, end);
        }
        found->second.agent = *agent;
        if (found->second.cancelled) host::send_signal(*agent, SIGTERM);
        self->watch();
      });
}

void Commands::cancel(const std::string& machine, const std::string& command) {
  const auto found = running_.find({machine, command});
  if (found == running_.end() || found->second.cancelled) return;
  found->second.cancelled = true;
  found->second.since = loop_.clock().uptime();
  found->second.deadline = found->second.since + kCancelMax;
  if (found->second.agent) host::send_signal(*found->second.agent, SIGTERM);
  watch();
}

void Commands::watch() {
  const Duration now = loop_.clock().uptime();
  bool any = false;
  bool soon = false;
  for (const auto& [key, running] : running_) {
    any = any || running.agent;
    soon = soon || (running.agent && now - running.since < kYoung);
  }
  loop_.cancel(timer_);
  timer_ = 0;
  if (!any) return;
  timer_ = loop_.after(soon ? kSoon : kSeldom, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->look();
  });
}

void Commands::look() {
  std::vector<Key> keys;
  for (const auto& [key, running] : running_) {
    if (running.agent) keys.push_back(key);
  }
  for (const Key& key : keys) {
    // A callback may have closed us.
    const auto found = running_.find(key);
    if (found == running_.end()) continue;
    Running& running = found->second;
    // Two were started when we died between a start and its record; one of them has taken the command.
    if (const auto its = agent_of(folder(key))) running.agent = its;
    const bool alive = host::alive(*running.agent);
    std::optional<CommandEnd> known;
    try {
      known = end_of(folder(key));
    } catch (const Error&) {
      known.emplace();  // a record that is no record: nobody knows
    }
    if (!known && alive && loop_.clock().uptime() < running.deadline) continue;
    if (!known) {
      if (alive) host::send_signal(*running.agent, SIGKILL);
      known.emplace();
      if (running.cancelled) known->how = CommandEnd::How::cancelled;
    }
    end(key, *known);
  }
  watch();
}

void Commands::end(const Key& key, const CommandEnd& how) {
  const CommandDone done = std::move(running_.at(key).done);
  running_.erase(key);
  done(how);
  // What `done` has done about it is kept when this turn is over.
  loop_.post([this, weak = weak_from_this(), key] {
    const auto self = weak.lock();
    if (!self || running_.contains(key)) return;
    std::error_code gone;
    std::filesystem::remove_all(folder(key), gone);  // its machine's removal may be faster
  });
}

void end_agents(const host::Path& machine_folder) {
  const host::Path commands = machine_folder / "commands";
  if (!std::filesystem::exists(commands)) return;
  for (const std::string& id : host::list_folder(commands)) {
    const auto agent = agent_of(commands / id);
    if (agent) host::end_process(*agent, Duration(0), SIGKILL);
  }
}

}  // namespace kiln::machine
