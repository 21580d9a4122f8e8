// Commands: see commands.h.
//
// An invocation's wish is in its status: pending waits for its turn, delayed for its agent, in_progress has been given
// to its machine. `advance` gives the next ones their turn; `deliver` asks the machine.
#include "region/ssm/commands.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>

#include "base/error.h"
#include "base/text.h"
#include "region/api_error.h"
#include "region/ssm/output.h"
#include "region/ssm/record.h"

namespace kiln::region::ssm {
namespace {

constexpr Duration kKept{std::chrono::hours(30 * 24)};  // AWS's page "Command history": 30 days
constexpr Duration kDelivery{30'000};                   // one try to reach an agent
constexpr Duration kRetry{10'000};                      // to the next one
constexpr Duration kFirstAnswer{120'000};               // of an instance that boots
constexpr Duration kAskAgain{300'000};                  // one that did not answer; AWS's agent reports every 5 minutes
constexpr std::size_t kAtOnce = 5;                      // in an instance; AWS's agent: CommandWorkersLimit
constexpr int kKilled = 137;                            // what AWS's agent reports of a script that it has killed

// What an agent tells of its instance, a line each.
constexpr const char* kAgentId = "agent";
constexpr const char* kAgentScript =
    "[ -r /etc/os-release ] && . /etc/os-release\nprintf '%s\\n%s\\n%s\\n' \"$NAME\" \"$VERSION_ID\" \"$(uname -n)\"\n";

// An instance whose state lets a command wait for it; SendCommand's page, InvalidInstanceId.
bool valid_state(const ec2::Instance& instance) {
  return instance.state != ec2::InstanceState::shutting_down && instance.state != ec2::InstanceState::terminated;
}

// Until then it must have begun.
Time due(const Command& command) { return command.requested + std::chrono::seconds(command.timeout_s); }

std::string script_of(const Command& command) {
  const auto lines = command.parameters.find("commands");
  return lines == command.parameters.end() ? "" : join(lines->second, "\n") + "\n";
}

}  // namespace

struct Commands::State {
  State(host::Loop& on, host::Random& chance, Tables& book, machine::Machines& hosts, ec2::Ec2& instances,
        CommandOptions with)
      : loop(on), random(chance), journal(book), machines(hosts), ec2(instances), options(std::move(with)) {}

  void open();
  void save(const Command& command) { journal.put(kCommandTable, command.id, write_record(command)); }
  void save(const Command& command, const Invocation& one) {
    const auto turn = static_cast<std::size_t>(&one - command.invocations.data());
    journal.put(kInvocationTable, command.id + "/" + one.instance_id, write_record(one, turn));
  }
  void save(const Node& node) { journal.put(kNodeTable, node.instance_id, write_record(node)); }

  // The invocation, if both are still known.
  std::pair<Command*, Invocation*> find(const std::string& id, const std::string& instance) {
    const auto command = commands.find(id);
    if (command == commands.end()) return {nullptr, nullptr};
    for (Invocation& one : command->second.invocations) {
      if (one.instance_id == instance) return {&command->second, &one};
    }
    return {&command->second, nullptr};
  }
  bool reachable(const std::string& instance) const {
    const ec2::Instance* found = ec2.find_instance(instance);
    const auto node = nodes.find(instance);
    return found != nullptr && found->state == ec2::InstanceState::running && node != nodes.end() &&
           node->second.online;
  }

  std::size_t at_work(const std::string& instance) {
    std::size_t count = 0;
    for (const auto& [id, command] : commands) {
      const Invocation* one = find(id, instance).second;
      if (one != nullptr && one->delivering) ++count;
    }
    return count;
  }

  std::vector<std::string> targets_of(const Command& command) const;
  void put(Command& command, Invocation& one, InvocationStatus status);
  void advance(const std::string& id);
  void deliver(const std::string& id, const std::string& instance);
  void delivered(const std::string& id, const std::string& instance, const machine::CommandEnd& end);
  void next(const std::string& instance);
  void expire(const std::string& id);
  void expire_later(const Command& command);
  void prune();

  void probe(const std::string& instance);
  void answered(const std::string& instance, const machine::CommandEnd& end);
  void instance_changed(const ec2::Instance& instance);
  void wake(const std::string& instance);  // its agent is there: what waits for it goes on

  host::Loop& loop;
  host::Random& random;
  Tables& journal;
  machine::Machines& machines;
  ec2::Ec2& ec2;
  CommandOptions options;
  std::map<std::string, Command> commands;
  std::map<std::string, Node> nodes;
  std::map<std::string, std::deque<std::string>> waiting;  // by instance: until its machine has room for them
  std::map<std::string, bool> probing;                     // instances that have not answered yet, or again
};

// ---- sending

std::vector<std::string> Commands::State::targets_of(const Command& command) const {
  std::vector<std::string> ids;
  for (const auto& [node_id, node] : nodes) {
    const std::string id = node_id;
    const ec2::Instance* instance = ec2.find_instance(id);
    if (instance == nullptr || !valid_state(*instance)) continue;
    const bool all = std::all_of(command.targets.begin(), command.targets.end(), [&](const Target& target) {
      return std::any_of(target.values.begin(), target.values.end(), [&](const std::string& value) {
        if (to_lower(target.key) == "instanceids") return value == id;
        if (target.key == "tag-key") return instance->tags.contains(value);
        const auto tag = instance->tags.find(target.key.substr(std::string_view("tag:").size()));
        return tag != instance->tags.end() && tag->second == value;
      });
    });
    if (all) ids.push_back(id);
  }
  return ids;
}

const Command& Commands::send(Command asked) {
  State& s = *state_;
  std::vector<std::string> ids;
  for (const std::string& id : asked.instance_ids) {
    const ec2::Instance* instance = s.ec2.find_instance(id);
    if (instance == nullptr || !valid_state(*instance) || !s.nodes.contains(id)) {
      throw ApiError("InvalidInstanceId",
                     fmt::format("Instances [[{}]] not in a valid state for account {}", id, s.options.account));
    }
    if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
  }
  if (asked.instance_ids.empty()) ids = s.targets_of(asked);
  asked.id = s.random.uuid();
  asked.requested = s.loop.now();
  for (const std::string& id : ids) {
    Invocation one;
    one.instance_id = id;
    const ec2::Tags& tags = s.ec2.instance(id).tags;
    if (const auto name = tags.find("Name"); name != tags.end()) one.instance_name = name->second;
    asked.invocations.push_back(std::move(one));
  }
  Command& kept = s.commands[asked.id] = std::move(asked);
  s.save(kept);
  for (const Invocation& one : kept.invocations) s.save(kept, one);
  s.prune();
  s.expire_later(kept);
  s.loop.post([&s, id = kept.id] { s.advance(id); });
  return kept;
}

void Commands::State::put(Command& command, Invocation& one, InvocationStatus status) {
  one.status = status;
  if (terminal(status)) one.ended = loop.now();
  save(command, one);
}

void Commands::State::advance(const std::string& id) {
  const auto found = commands.find(id);
  if (found == commands.end()) return;
  Command& command = found->second;
  // AWS's page "Run commands at scale": what runs may end, what has not begun does not begin any more.
  if (command.errors() > command.errors_max()) {
    for (Invocation& one : command.invocations) {
      if (one.status == InvocationStatus::pending) put(command, one, InvocationStatus::terminated);
    }
  }
  const auto all = static_cast<std::int64_t>(command.invocations.size());
  std::int64_t under_way = all - command.completed() - command.count(InvocationStatus::pending);
  for (Invocation& one : command.invocations) {
    if (under_way >= command.window()) return;
    if (one.status != InvocationStatus::pending) continue;
    ++under_way;
    put(command, one, reachable(one.instance_id) ? InvocationStatus::in_progress : InvocationStatus::delayed);
    // After this turn: it is in the journal before the machine is asked.
    loop.post([this, id, instance = one.instance_id] { deliver(id, instance); });
  }
}

void Commands::State::deliver(const std::string& id, const std::string& instance) {
  const auto [command, one] = find(id, instance);
  if (one == nullptr || terminal(one->status) || one->delivering) return next(instance);
  const ec2::Instance* target = ec2.find_instance(instance);
  if (target == nullptr || !valid_state(*target)) {
    put(*command, *one, InvocationStatus::undeliverable);
    return advance(id);
  }
  // What was given to a machine before this process was is asked for whether its agent has answered us or not.
  if (one->status == InvocationStatus::delayed) {
    if (!reachable(instance)) return;
    put(*command, *one, InvocationStatus::in_progress);
    return loop.post([this, id, instance] { deliver(id, instance); });
  }
  if (at_work(instance) >= kAtOnce) return waiting[instance].push_back(id);
  machine::Command asked;
  asked.id = id;
  asked.script = script_of(*command);
  asked.environment = {{"AWS_SSM_INSTANCE_ID", instance}, {"AWS_SSM_REGION_NAME", options.region}};
  if (const auto directory = command->parameters.find("workingDirectory");
      directory != command->parameters.end() && !directory->second.empty()) {
    asked.directory = directory->second.front();
  }
  asked.delivery = kDelivery;
  asked.timeout = std::chrono::seconds(command->execution_s);
  one->delivering = true;
  if (!one->started) one->started = loop.now();
  try {
    machines.run(instance, asked,
                 [this, id, instance](const machine::CommandEnd& end) { delivered(id, instance, end); });
    if (one->status == InvocationStatus::cancelling) machines.cancel(instance, id);
  } catch (const Error&) {
    machine::CommandEnd end;
    end.how = machine::CommandEnd::How::undelivered;
    delivered(id, instance, end);
  }
}

void Commands::State::delivered(const std::string& id, const std::string& instance, const machine::CommandEnd& end) {
  const auto [command, one] = find(id, instance);
  if (one != nullptr) one->delivering = false;
  next(instance);
  if (one == nullptr || terminal(one->status)) return;
  using How = machine::CommandEnd::How;
  if (end.how == How::undelivered) {
    one->started.reset();
    if (one->status == InvocationStatus::cancelling) {
      put(*command, *one, InvocationStatus::cancelled);
      return advance(id);
    }
    if (loop.now() >= due(*command)) {
      put(*command, *one, InvocationStatus::delivery_timed_out);
      return advance(id);
    }
    put(*command, *one, InvocationStatus::delayed);
    loop.after(kRetry, [this, id, instance] { deliver(id, instance); });
    return;
  }
  if (end.started != Time{}) {
    one->started = end.started;
  } else if (end.how == How::cancelled) {
    one->started.reset();
  }
  one->out = shown_output(end.out, end.out_cut, kStdoutCharacters);
  one->err = shown_error(end.err, end.err_cut, kStderrCharacters);
  if (const auto node = nodes.find(instance); node != nodes.end() && end.how != How::lost) {
    node->second.last_ping = loop.now();
    save(node->second);
  }
  InvocationStatus status = InvocationStatus::failed;
  switch (end.how) {
    case How::exited:
      one->response_code = end.status;
      if (end.status == 0) status = InvocationStatus::success;
      break;
    case How::timed_out:
      one->response_code = kKilled;
      status = InvocationStatus::execution_timed_out;
      break;
    case How::cancelled:
      if (one->started) one->response_code = kKilled;
      status = InvocationStatus::cancelled;
      break;
    case How::lost:
    case How::undelivered:
      break;
  }
  put(*command, *one, status);
  if (end.ended != Time{}) one->ended = end.ended;
  save(*command, *one);
  advance(id);
}

// A machine has room for one more, or that one did not take it.
void Commands::State::next(const std::string& instance) {
  std::deque<std::string>& ids = waiting[instance];
  if (ids.empty()) return;
  loop.post([this, id = ids.front(), instance] { deliver(id, instance); });
  ids.pop_front();
}

// ---- ending

void Commands::cancel(const std::string& id, const std::vector<std::string>& instance_ids) {
  State& s = *state_;
  const auto found = s.commands.find(id);
  if (found == s.commands.end()) throw ApiError("InvalidCommandId", "The specified command ID isn't valid.");
  Command& command = found->second;
  for (const std::string& instance : instance_ids) {
    if (s.find(id, instance).second == nullptr) {
      throw ApiError("InvalidInstanceId", fmt::format("The command was not sent to the instance {}", instance));
    }
  }
  const bool was_over = terminal(command.status());
  for (Invocation& one : command.invocations) {
    const bool named = instance_ids.empty() ||
                       std::find(instance_ids.begin(), instance_ids.end(), one.instance_id) != instance_ids.end();
    if (!named || terminal(one.status) || one.status == InvocationStatus::cancelling) continue;
    const std::deque<std::string>& waiting = s.waiting[one.instance_id];
    const bool waits = std::find(waiting.begin(), waiting.end(), id) != waiting.end();
    const bool begun = one.delivering || (one.status == InvocationStatus::in_progress && !waits);
    s.put(command, one, begun ? InvocationStatus::cancelling : InvocationStatus::cancelled);
    if (one.delivering) s.machines.cancel(one.instance_id, id);
  }
  if (was_over) return;
  if (instance_ids.empty()) {
    command.cancelled = true;
    s.save(command);
  }
  s.loop.post([&s, id] { s.advance(id); });
}

// "If this time is reached and the command hasn't already started running, it won't run."
void Commands::State::expire(const std::string& id) {
  const auto found = commands.find(id);
  if (found == commands.end()) return;
  for (Invocation& one : found->second.invocations) {
    if (terminal(one.status) || one.delivering) continue;
    put(found->second, one, InvocationStatus::delivery_timed_out);
  }
}

void Commands::State::expire_later(const Command& command) {
  const Duration left = std::max(Duration(0), due(command) - loop.now());
  loop.after(left, [this, id = command.id] { expire(id); });
}

void Commands::State::prune() {
  std::vector<const Command*> oldest;
  std::size_t kept = 0;
  for (const auto& [id, command] : commands) {
    kept += command.invocations.size() + 1;
    if (terminal(command.status())) oldest.push_back(&command);
  }
  std::sort(oldest.begin(), oldest.end(), [](auto* a, auto* b) { return a->requested < b->requested; });
  for (const Command* command : oldest) {
    if (kept <= kInvocationsKept && command->requested + kKept > loop.now()) return;
    kept -= command->invocations.size() + 1;
    for (const Invocation& one : command->invocations) {
      journal.erase(kInvocationTable, command->id + "/" + one.instance_id);
    }
    const std::string id = command->id;
    journal.erase(kCommandTable, id);
    commands.erase(id);
  }
}

// ---- agents

void Commands::State::probe(const std::string& instance) {
  const ec2::Instance* found = ec2.find_instance(instance);
  if (found == nullptr || found->state != ec2::InstanceState::running || probing[instance]) return;
  machine::Command asked;
  asked.id = kAgentId;
  asked.script = kAgentScript;
  asked.directory = "/";
  asked.delivery = kFirstAnswer;
  asked.timeout = kFirstAnswer;
  probing[instance] = true;
  try {
    machines.run(instance, asked, [this, instance](const machine::CommandEnd& end) { answered(instance, end); });
  } catch (const Error&) {
    probing.erase(instance);
    loop.after(kRetry, [this, instance] { probe(instance); });
  }
}

void Commands::State::answered(const std::string& instance, const machine::CommandEnd& end) {
  probing.erase(instance);
  const ec2::Instance* found = ec2.find_instance(instance);
  if (found == nullptr || found->state != ec2::InstanceState::running) return;
  if (end.how != machine::CommandEnd::How::exited) {
    const bool lost = end.how == machine::CommandEnd::How::lost;
    loop.after(lost ? kRetry : kAskAgain, [this, instance] { probe(instance); });
    return;
  }
  Node& node = nodes[instance];
  std::vector<std::string> lines = split(shown_output(end.out, false, kPluginCharacters), '\n');
  lines.resize(3);
  if (node.instance_id.empty()) node.registered = loop.now();
  node.instance_id = instance;
  node.platform_name = lines[0];
  node.platform_version = lines[1];
  node.computer_name = lines[2];
  node.address = found->private_address;
  node.last_ping = loop.now();
  node.online = true;
  save(node);
  wake(instance);
}

void Commands::State::wake(const std::string& instance) {
  for (auto& [id, command] : commands) {
    const Invocation* one = find(id, instance).second;
    if (one == nullptr || one->status != InvocationStatus::delayed) continue;
    loop.post([this, id = id, instance] { deliver(id, instance); });
  }
}

void Commands::State::instance_changed(const ec2::Instance& instance) {
  const std::string id = instance.id;
  if (instance.state == ec2::InstanceState::running) {
    loop.post([this, id] { probe(id); });
    return;
  }
  const auto node = nodes.find(id);
  if (node != nodes.end()) node->second.online = false;
  if (valid_state(instance)) return;
  for (auto& [command_id, command] : commands) {
    const Invocation* one = find(command_id, id).second;
    if (one == nullptr || terminal(one->status) || one->delivering) continue;
    loop.post([this, command_id = command_id, id] { deliver(command_id, id); });
  }
  if (!instance.gone() || node == nodes.end()) return;
  nodes.erase(node);
  journal.erase(kNodeTable, id);
  waiting.erase(id);
}

// ---- after a restart

void Commands::State::open() {
  for (const auto& [id, text] : journal.load(kNodeTable)) {
    Node node = read_node(text);
    const ec2::Instance* instance = ec2.find_instance(id);
    if (instance == nullptr || instance->gone()) {
      journal.erase(kNodeTable, id);
      continue;
    }
    node.online = instance->state == ec2::InstanceState::running;
    nodes[id] = node;
  }
  for (const auto& [id, text] : journal.load(kCommandTable)) commands[id] = read_command(text);
  std::map<std::string, std::map<std::size_t, Invocation>> by_turn;
  for (const auto& [key, text] : journal.load(kInvocationTable)) {
    InvocationRecord record = read_invocation(text);
    by_turn[key.substr(0, key.find('/'))][record.turn] = std::move(record.invocation);
  }
  for (auto& [id, command] : commands) {
    for (auto& [turn, one] : by_turn[id]) command.invocations.push_back(std::move(one));
    if (terminal(command.status())) continue;
    expire_later(command);
    for (Invocation& one : command.invocations) {
      if (terminal(one.status) || one.status == InvocationStatus::pending) continue;
      const ec2::Instance* instance = ec2.find_instance(one.instance_id);
      const bool runs = instance != nullptr && instance->state == ec2::InstanceState::running;
      // It was given to a machine that does not run any more.
      if (!runs && one.status != InvocationStatus::delayed) {
        put(command, one, InvocationStatus::failed);
      } else {
        loop.post([this, id = id, instance_id = one.instance_id] { deliver(id, instance_id); });
      }
    }
    loop.post([this, id = id] { advance(id); });
  }
  prune();
  ec2.on_instance_change([this](const ec2::Instance& instance, ec2::InstanceState) { instance_changed(instance); });
  for (const auto& [id, instance] : ec2.instances()) {
    if (instance.state == ec2::InstanceState::running && !nodes.contains(id)) {
      loop.post([this, id = id] { probe(id); });
    }
  }
}

// ---- the contract

Commands::Commands(host::Loop& loop, host::Random& random, Tables& journal, machine::Machines& machines, ec2::Ec2& ec2,
                   CommandOptions options)
    : state_(std::make_unique<State>(loop, random, journal, machines, ec2, std::move(options))) {}
Commands::~Commands() = default;

void Commands::open() { state_->open(); }

const std::map<std::string, Command>& Commands::commands() const { return state_->commands; }

const Command& Commands::command(const std::string& id) const {
  const auto found = state_->commands.find(id);
  if (found == state_->commands.end()) throw ApiError("InvalidCommandId", "The specified command ID isn't valid.");
  return found->second;
}

const Invocation& Commands::invocation(const std::string& id, const std::string& instance_id) const {
  const Invocation* one = state_->find(id, instance_id).second;
  if (one == nullptr) {
    throw ApiError("InvocationDoesNotExist", fmt::format("The command {} was not sent to {}", id, instance_id));
  }
  return *one;
}

bool Commands::settled(const std::string& id, const std::string& instance_id) const {
  const Invocation* one = state_->find(id, instance_id).second;
  return one == nullptr || terminal(one->status);
}

const std::map<std::string, Node>& Commands::nodes() const { return state_->nodes; }

const ec2::Tags& Commands::tags(const Node& node) const { return state_->ec2.instance(node.instance_id).tags; }

std::string Commands::ping_status(const Node& node) const {
  return state_->reachable(node.instance_id) ? "Online" : "ConnectionLost";
}

}  // namespace kiln::region::ssm
