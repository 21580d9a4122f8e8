// Model: statuses by AWS's names, and what the invocations of a command come to.
#include "region/ssm/model.h"

#include <algorithm>

namespace kiln::region::ssm {
namespace {

std::int64_t of(const Rate& rate, std::size_t targets) {
  return rate.percent ? rate.value * static_cast<std::int64_t>(targets) / 100 : rate.value;
}

}  // namespace

std::string_view details_of(InvocationStatus status) {
  constexpr std::string_view kNames[] = {"Pending",          "InProgress",        "Delayed",   "Success",
                                         "DeliveryTimedOut", "ExecutionTimedOut", "Failed",    "Cancelling",
                                         "Cancelled",        "Undeliverable",     "Terminated"};
  return kNames[static_cast<int>(status)];
}

std::string_view status_of(InvocationStatus status) {
  switch (status) {
    case InvocationStatus::delivery_timed_out:
    case InvocationStatus::execution_timed_out:
      return "TimedOut";
    case InvocationStatus::undeliverable:
      return "Failed";
    case InvocationStatus::terminated:
      return "Cancelled";
    default:
      return details_of(status);
  }
}

bool terminal(InvocationStatus status) {
  switch (status) {
    case InvocationStatus::pending:
    case InvocationStatus::in_progress:
    case InvocationStatus::delayed:
    case InvocationStatus::cancelling:
      return false;
    default:
      return true;
  }
}

std::string_view details_of(CommandStatus status) {
  constexpr std::string_view kNames[] = {"Pending", "InProgress", "Success",    "DeliveryTimedOut", "ExecutionTimedOut",
                                         "Failed",  "Incomplete", "Cancelling", "Cancelled",        "NoInstancesInTag"};
  return kNames[static_cast<int>(status)];
}

std::string_view status_of(CommandStatus status) {
  switch (status) {
    case CommandStatus::delivery_timed_out:
    case CommandStatus::execution_timed_out:
      return "TimedOut";
    // AWS's page does not say of which status these two are details.
    case CommandStatus::incomplete:
      return "Failed";
    case CommandStatus::no_instances_in_tag:
      return "Success";
    default:
      return details_of(status);
  }
}

bool terminal(CommandStatus status) {
  return status != CommandStatus::pending && status != CommandStatus::in_progress &&
         status != CommandStatus::cancelling;
}

std::int64_t Command::count(InvocationStatus wanted) const {
  return std::count_if(invocations.begin(), invocations.end(),
                       [&](const Invocation& one) { return one.status == wanted; });
}

std::int64_t Command::completed() const {
  return std::count_if(invocations.begin(), invocations.end(),
                       [](const Invocation& one) { return terminal(one.status); });
}

std::int64_t Command::errors() const {
  return count(InvocationStatus::failed) + count(InvocationStatus::execution_timed_out);
}

std::int64_t Command::errors_max() const { return of(max_errors, invocations.size()); }

std::int64_t Command::window() const {
  const std::int64_t most = std::max<std::int64_t>(1, of(max_concurrency, invocations.size()));
  if (!instance_ids.empty()) return most;
  std::int64_t window = 1;
  for (std::int64_t done = completed(); window < most && done >= window; done -= window / 2) window *= 2;
  return std::min(window, most);
}

CommandStatus Command::status() const {
  if (invocations.empty()) return CommandStatus::no_instances_in_tag;
  const auto all = static_cast<std::int64_t>(invocations.size());
  if (completed() < all) {
    if (cancelled) return CommandStatus::cancelling;
    return count(InvocationStatus::pending) == all ? CommandStatus::pending : CommandStatus::in_progress;
  }
  if (cancelled) return CommandStatus::cancelled;
  const std::int64_t success = count(InvocationStatus::success);
  if (success == all) return CommandStatus::success;
  if (errors() > errors_max()) {
    return count(InvocationStatus::failed) > 0 ? CommandStatus::failed : CommandStatus::execution_timed_out;
  }
  if (count(InvocationStatus::delivery_timed_out) > errors_max()) return CommandStatus::delivery_timed_out;
  if (count(InvocationStatus::cancelled) == all) return CommandStatus::cancelled;
  const std::int64_t undeliverable = count(InvocationStatus::undeliverable);
  if (undeliverable == all) return CommandStatus::failed;
  if (undeliverable + success == all) return CommandStatus::success;
  return CommandStatus::incomplete;
}

}  // namespace kiln::region::ssm
