// Model: what Systems Manager keeps: managed nodes, commands and their invocations. Values only, no wire types, no
// behaviour. Parameters are in parameters.h.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"

namespace kiln::region::ssm {

// An instance whose agent has answered once.
struct Node {
  std::string instance_id;
  std::string platform_name;     // "Debian GNU/Linux"
  std::string platform_version;  // "12"
  std::string computer_name;
  std::string address;
  Time registered{};
  Time last_ping{};

  // Of this process only.
  bool online = false;  // its agent has answered since its instance runs
};

// StatusDetails of an invocation and of its one plugin; AWS's page "Understanding command statuses".
enum class InvocationStatus {
  pending,
  in_progress,
  delayed,
  success,
  delivery_timed_out,
  execution_timed_out,
  failed,
  cancelling,
  cancelled,
  undeliverable,
  terminated
};
std::string_view details_of(InvocationStatus status);  // "DeliveryTimedOut"
std::string_view status_of(InvocationStatus status);   // "TimedOut"
bool terminal(InvocationStatus status);

struct Invocation {
  std::string instance_id;
  std::string instance_name;  // the tag "Name" when the command was sent
  InvocationStatus status = InvocationStatus::pending;
  std::int64_t response_code = -1;
  std::string out;  // as AWS shows it: cut, with a mark
  std::string err;
  std::optional<Time> started;
  std::optional<Time> ended;

  bool delivering = false;  // of this process only: its machine has been asked
};

// A number of targets, or a share of them.
struct Rate {
  std::int64_t value = 0;
  bool percent = false;
  std::string text;  // as it came
};

struct Target {
  std::string key;
  std::vector<std::string> values;
};

enum class CommandStatus {
  pending,
  in_progress,
  success,
  delivery_timed_out,
  execution_timed_out,
  failed,
  incomplete,
  cancelling,
  cancelled,
  no_instances_in_tag
};
std::string_view details_of(CommandStatus status);
std::string_view status_of(CommandStatus status);
bool terminal(CommandStatus status);

struct Command {
  std::string id;  // a UUID
  std::string document;
  std::string document_version;
  std::string comment;
  std::map<std::string, std::vector<std::string>> parameters;
  std::vector<std::string> instance_ids;  // as they were asked for
  std::vector<Target> targets;
  Rate max_concurrency;
  Rate max_errors;
  std::int64_t timeout_s = 3600;    // to be delivered
  std::int64_t execution_s = 3600;  // to run
  Time requested{};
  bool cancelled = false;               // as a whole
  std::vector<Invocation> invocations;  // in the order of their turn

  Time expires() const { return requested + std::chrono::seconds(timeout_s + execution_s); }
  // Counts against MaxErrors.
  std::int64_t errors() const;
  std::int64_t count(InvocationStatus status) const;
  std::int64_t completed() const;
  CommandStatus status() const;
  // How many may run at once now. To targets that were named by a property a command goes out to one first, then to
  // two, and so on; `Using concurrency controls` of AWS's page "Run commands at scale".
  std::int64_t window() const;
  std::int64_t errors_max() const;
};

}  // namespace kiln::region::ssm
