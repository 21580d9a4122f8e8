// Handlers of Systems Manager: Run Command and managed nodes.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "region/ec2/filters.h"
#include "region/ssm/handlers.h"
#include "region/ssm/output.h"
#include "wire/ssm.h"

namespace kiln::region::ssm {
namespace {

// A waiter looks every 5 s; who watches a long command wants to see that it runs.
constexpr Duration kInvocationHeld{2'000};

namespace w = wire::ssm;

constexpr const char* kDocument = "AWS-RunShellScript";
constexpr const char* kPlugin = "aws:runShellScript";
constexpr std::size_t kInstancesMax = 50;  // SendCommand's page
constexpr std::size_t kTargetsMax = 5;
constexpr std::size_t kValuesMax = 50;
constexpr std::int64_t kPageMax = 50;
constexpr std::int64_t kExecutionMax = 172'800;  // of the document: 48 hours

[[noreturn]] void invalid(std::string message) { throw ApiError("ValidationException", std::move(message)); }

std::string empty_or_time(const std::optional<Time>& time) { return time ? format_iso8601(*time) : ""; }

// "PT2.034S"
std::string elapsed(const Invocation& one) {
  if (!one.started || !one.ended) return one.started ? "PT0S" : "";
  const Duration took = std::max(Duration(0), *one.ended - *one.started);
  return fmt::format("PT{}.{:03}S", took.count() / 1000, took.count() % 1000);
}

Rate rate_of(const std::optional<std::string>& text, const std::string& absent, bool zero, const char* member) {
  Rate rate;
  rate.text = text.value_or(absent);
  rate.percent = rate.text.ends_with('%');
  const std::string digits = rate.text.substr(0, rate.text.size() - (rate.percent ? 1 : 0));
  const auto value = parse_int(digits);
  const std::int64_t least = zero ? 0 : 1;
  const bool canonical = value && std::to_string(*value) == digits;
  if (!canonical || *value < least || rate.text.size() > 7 || (rate.percent && *value > 100)) {
    invalid(fmt::format(
        "1 validation error detected: Value '{}' at '{}' failed to satisfy constraint: Member must satisfy regular "
        "expression pattern: ^([1-9][0-9]*{}|[1-9][0-9]%|{}%|100%)$",
        rate.text, member, zero ? "|[0]" : "", zero ? "[0-9]" : "[1-9]"));
  }
  rate.value = *value;
  return rate;
}

void check_document(const w::SendCommandRequest& input) {
  std::string name = input.document_name.value_or("");
  if (const std::size_t at = name.find(":document/"); name.starts_with("arn:") && at != std::string::npos) {
    name = name.substr(at + std::string_view(":document/").size());
  }
  if (name != kDocument) {
    throw ApiError(
        "InvalidDocument",
        fmt::format("The document '{}' does not exist in this region, which has {} and no other", name, kDocument));
  }
  const std::string version = input.document_version.value_or("$DEFAULT");
  if (version != "$DEFAULT" && version != "$LATEST" && version != "1") {
    throw ApiError("InvalidDocumentVersion", fmt::format("The document {} has no version {}", kDocument, version));
  }
}

// The document's parameters; its page: commands, workingDirectory, executionTimeout.
std::int64_t check_parameters(const std::map<std::string, std::vector<std::string>>& parameters) {
  const auto refuse = [](std::string why) { throw ApiError("InvalidParameters", std::move(why)); };
  std::int64_t execution = 3600;
  for (const auto& [name, values] : parameters) {
    if (name != "commands" && name != "workingDirectory" && name != "executionTimeout") {
      refuse(fmt::format("The document {} has no parameter {}", kDocument, name));
    }
    if (name != "commands" && values.size() > 1) refuse(fmt::format("The parameter {} has one value", name));
    if (name == "executionTimeout" && !values.empty()) {
      execution = parse_int(values.front()).value_or(0);
      if (execution < 1 || execution > kExecutionMax) {
        refuse(fmt::format("The parameter executionTimeout is '{}': it is a number of seconds from 1 to {}",
                           values.front(), kExecutionMax));
      }
    }
  }
  if (!parameters.contains("commands") || parameters.at("commands").empty()) {
    refuse("The parameter commands is required");
  }
  return execution;
}

std::vector<Target> targets_of(const w::SendCommandRequest& input) {
  if (input.instance_ids.empty() == input.targets.empty()) {
    invalid("Specify either InstanceIds or Targets, and not both");
  }
  if (input.instance_ids.size() > kInstancesMax) {
    invalid(
        fmt::format("1 validation error detected: Value at 'instanceIds' failed to satisfy constraint: Member must "
                    "have length less than or equal to {}",
                    kInstancesMax));
  }
  if (input.targets.size() > kTargetsMax) {
    invalid(
        fmt::format("1 validation error detected: Value at 'targets' failed to satisfy constraint: Member must "
                    "have length less than or equal to {}",
                    kTargetsMax));
  }
  std::vector<Target> targets;
  for (const w::Target& target : input.targets) {
    const std::string key = target.key.value_or("");
    if (to_lower(key) != "instanceids" && key != "tag-key" && !key.starts_with("tag:")) {
      throw ApiError("InvalidTarget",
                     fmt::format("The target key '{}' is not one of InstanceIds, tag:<key>, tag-key", key));
    }
    if (target.values.empty() || target.values.size() > kValuesMax) {
      throw ApiError("InvalidTarget", fmt::format("The target '{}' has from 1 to {} values", key, kValuesMax));
    }
    targets.push_back({key, target.values});
  }
  return targets;
}

Command command_of(const w::SendCommandRequest& input) {
  check_document(input);
  Command asked;
  asked.execution_s = check_parameters(input.parameters);
  asked.targets = targets_of(input);
  asked.document = kDocument;
  asked.document_version = input.document_version.value_or("$DEFAULT");
  asked.comment = input.comment.value_or("");
  if (asked.comment.size() > 100) {
    invalid(
        "1 validation error detected: Value at 'comment' failed to satisfy constraint: Member must have length "
        "less than or equal to 100");
  }
  asked.parameters = input.parameters;
  asked.instance_ids = input.instance_ids;
  asked.max_concurrency = rate_of(input.max_concurrency, "50", false, "maxConcurrency");
  asked.max_errors = rate_of(input.max_errors, "0", true, "maxErrors");
  asked.timeout_s = input.timeout_seconds.value_or(3600);
  if (asked.timeout_s < kTimeoutMin || asked.timeout_s > kTimeoutMax) {
    invalid(
        fmt::format("1 validation error detected: Value '{}' at 'timeoutSeconds' failed to satisfy constraint: "
                    "Member must have value between {} and {}",
                    asked.timeout_s, kTimeoutMin, kTimeoutMax));
  }
  return asked;
}

w::Command to_wire(const Command& command) {
  w::Command out;
  out.command_id = command.id;
  out.document_name = command.document;
  out.document_version = command.document_version;
  out.comment = command.comment;
  out.expires_after = command.expires();
  out.parameters = command.parameters;
  out.instance_ids = command.instance_ids;
  for (const Target& target : command.targets) {
    auto& one = out.targets.emplace_back();
    one.key = target.key;
    one.values = target.values;
  }
  out.requested_date_time = command.requested;
  out.status = std::string(status_of(command.status()));
  out.status_details = std::string(details_of(command.status()));
  out.max_concurrency = command.max_concurrency.text;
  out.max_errors = command.max_errors.text;
  out.target_count = static_cast<std::int64_t>(command.invocations.size());
  out.completed_count = command.completed();
  out.error_count = command.errors();
  out.delivery_timed_out_count = command.count(InvocationStatus::delivery_timed_out);
  out.timeout_seconds = command.timeout_s;
  return out;
}

w::CommandInvocation to_wire(const Command& command, const Invocation& one, bool details) {
  w::CommandInvocation out;
  out.command_id = command.id;
  out.instance_id = one.instance_id;
  out.instance_name = one.instance_name;
  out.comment = command.comment;
  out.document_name = command.document;
  out.document_version = command.document_version;
  out.requested_date_time = command.requested;
  out.status = std::string(status_of(one.status));
  out.status_details = std::string(details_of(one.status));
  out.trace_output = "";
  out.standard_output_url = "";
  out.standard_error_url = "";
  if (!details) return out;
  auto& plugin = out.command_plugins.emplace_back();
  plugin.name = kPlugin;
  // A plugin knows fewer statuses.
  const bool waits = one.status == InvocationStatus::delayed;
  const bool ending = one.status == InvocationStatus::cancelling;
  plugin.status = waits ? "Pending" : ending ? "InProgress" : std::string(status_of(one.status));
  plugin.status_details = std::string(details_of(one.status));
  plugin.response_code = one.response_code;
  plugin.response_start_date_time = one.started;
  if (terminal(one.status)) plugin.response_finish_date_time = one.ended;
  plugin.output = joined(one.out, one.err, kPluginCharacters);
  plugin.standard_output_url = "";
  plugin.standard_error_url = "";
  plugin.output_s3_region = "";
  plugin.output_s3_bucket_name = "";
  plugin.output_s3_key_prefix = "";
  return out;
}

Time time_in(const std::string& text) {
  try {
    return parse_iso8601(text);
  } catch (const Error&) {
    throw ApiError("InvalidFilterValue", fmt::format("'{}' is no time", text));
  }
}

// CommandFilter's page. `status` is the command's or an invocation's.
bool matches(const std::vector<w::CommandFilter>& filters, const Command& command, std::string_view status, bool over) {
  return std::all_of(filters.begin(), filters.end(), [&](const w::CommandFilter& filter) {
    const std::string key = filter.key.value_or("");
    const std::string value = filter.value.value_or("");
    if (key == "InvokedAfter") return command.requested >= time_in(value);
    if (key == "InvokedBefore") return command.requested < time_in(value);
    if (key == "DocumentName") return command.document == value;
    if (key == "ExecutionStage") return value == (over ? "Complete" : "Executing");
    return status == value;
  });
}

// The newest first, as keys in ascending order; pages hold while commands come and go.
std::string key_of(const Command& command, const std::string& instance = {}) {
  constexpr std::int64_t kFar = 100'000'000'000'000;
  return fmt::format("{:015}/{}/{}", kFar - command.requested.time_since_epoch().count(), command.id, instance);
}

std::map<std::string, const Command*> newest_first(const Commands& commands, const std::optional<std::string>& id) {
  std::map<std::string, const Command*> out;
  if (id) {
    const Command& command = commands.command(*id);
    out[key_of(command)] = &command;
    return out;
  }
  for (const auto& [one, command] : commands.commands()) out[key_of(command)] = &command;
  return out;
}

void send_and_cancel(Handlers& handlers, Commands& commands) {
  handlers.on<w::SendCommand>([&commands](const Call&, const w::SendCommandRequest& input) {
    only<w::SendCommand>(input, {"InstanceIds", "Targets", "DocumentName", "DocumentVersion", "TimeoutSeconds",
                                 "Comment", "Parameters", "MaxConcurrency", "MaxErrors"});
    w::SendCommandResult answer;
    answer.command = to_wire(commands.send(command_of(input)));
    return answer;
  });
  handlers.on<w::CancelCommand>([&commands](const Call&, const w::CancelCommandRequest& input) {
    commands.cancel(input.command_id.value_or(""), input.instance_ids);
    return w::CancelCommandResult{};
  });
}

void list(Handlers& handlers, Commands& commands) {
  handlers.on<w::ListCommands>([&commands](const Call&, const w::ListCommandsRequest& input) {
    check_max_results(input.max_results, 1, kPageMax);
    ec2::Page page(input.max_results.value_or(kPageMax), input.next_token, 1, kPageMax);
    w::ListCommandsResult answer;
    for (const auto& [key, command] : newest_first(commands, input.command_id)) {
      const bool its = !input.instance_id ||
                       std::any_of(command->invocations.begin(), command->invocations.end(),
                                   [&](const Invocation& one) { return one.instance_id == *input.instance_id; });
      const CommandStatus status = command->status();
      if (!its || !matches(input.filters, *command, status_of(status), terminal(status))) continue;
      if (page.takes(key)) answer.commands.push_back(to_wire(*command));
    }
    answer.next_token = page.next_token();
    return answer;
  });
  handlers.on<w::ListCommandInvocations>([&commands](const Call&, const w::ListCommandInvocationsRequest& input) {
    check_max_results(input.max_results, 1, kPageMax);
    ec2::Page page(input.max_results.value_or(kPageMax), input.next_token, 1, kPageMax);
    w::ListCommandInvocationsResult answer;
    for (const auto& [key, command] : newest_first(commands, input.command_id)) {
      std::map<std::string, const Invocation*> by_instance;
      for (const Invocation& one : command->invocations) by_instance[one.instance_id] = &one;
      for (const auto& [instance, one] : by_instance) {
        if (input.instance_id && instance != *input.instance_id) continue;
        if (!matches(input.filters, *command, status_of(one->status), terminal(one->status))) continue;
        if (!page.takes(key_of(*command, instance))) continue;
        answer.command_invocations.push_back(to_wire(*command, *one, input.details.value_or(false)));
      }
    }
    answer.next_token = page.next_token();
    return answer;
  });
  handlers.when<w::GetCommandInvocation>(
      [&commands](const w::GetCommandInvocationRequest& input) {
        return commands.settled(input.command_id.value_or(""), input.instance_id.value_or(""));
      },
      kInvocationHeld);
  handlers.on<w::GetCommandInvocation>([&commands](const Call&, const w::GetCommandInvocationRequest& input) {
    const std::string id = input.command_id.value_or("");
    if (id.size() != 36) throw ApiError("InvalidCommandId", "The specified command ID isn't valid.");
    const Invocation& one = commands.invocation(id, input.instance_id.value_or(""));
    if (input.plugin_name && *input.plugin_name != kPlugin) {
      throw ApiError("InvalidPluginName",
                     fmt::format("The document {} has no plugin {}", kDocument, *input.plugin_name));
    }
    const Command& command = commands.command(id);
    w::GetCommandInvocationResult answer;
    answer.command_id = id;
    answer.instance_id = one.instance_id;
    answer.comment = command.comment;
    answer.document_name = command.document;
    answer.document_version = command.document_version;
    answer.plugin_name = kPlugin;
    answer.response_code = one.response_code;
    answer.execution_start_date_time = empty_or_time(one.started);
    answer.execution_elapsed_time = elapsed(one);
    answer.execution_end_date_time = one.started ? empty_or_time(one.ended) : "";
    answer.status = std::string(status_of(one.status));
    answer.status_details = std::string(details_of(one.status));
    answer.standard_output_content = one.out;
    answer.standard_output_url = "";
    answer.standard_error_content = one.err;
    answer.standard_error_url = "";
    answer.cloud_watch_output_config.emplace().cloud_watch_output_enabled = false;
    return answer;
  });
}

struct NodeFilter {
  std::string key;
  std::vector<std::string> values;
};

void check_key(const std::string& key) {
  constexpr std::string_view kKeys[] = {"InstanceIds", "PingStatus", "PlatformTypes", "ResourceType", "tag-key"};
  if (key.starts_with("tag:") || std::find(std::begin(kKeys), std::end(kKeys), key) != std::end(kKeys)) return;
  throw ApiError("InvalidFilterKey", fmt::format("The filter '{}' is not served by this region", key));
}

bool matches(const NodeFilter& filter, const Node& node, const std::string& ping, const ec2::Tags& tags) {
  const auto has = [&](const std::string& value) {
    return std::find(filter.values.begin(), filter.values.end(), value) != filter.values.end();
  };
  if (filter.key == "InstanceIds") return has(node.instance_id);
  if (filter.key == "PingStatus") return has(ping);
  if (filter.key == "PlatformTypes") return has("Linux");
  if (filter.key == "ResourceType") return has("EC2Instance");
  return std::any_of(tags.begin(), tags.end(), [&](const auto& tag) {
    return filter.key == "tag-key" ? has(tag.first) : filter.key == "tag:" + tag.first && has(tag.second);
  });
}

void nodes(Handlers& handlers, Commands& commands) {
  handlers.on<w::DescribeInstanceInformation>(
      [&commands](const Call&, const w::DescribeInstanceInformationRequest& input) {
        check_max_results(input.max_results, 5, kPageMax);
        if (!input.filters.empty() && !input.instance_information_filter_list.empty()) {
          invalid("Use either Filters or InstanceInformationFilterList, and not both");
        }
        std::vector<NodeFilter> filters;
        for (const auto& filter : input.filters) filters.push_back({filter.key.value_or(""), filter.values});
        for (const auto& filter : input.instance_information_filter_list) {
          filters.push_back({filter.key.value_or(""), filter.value_set});
        }
        for (const NodeFilter& filter : filters) check_key(filter.key);
        ec2::Page page(input.max_results.value_or(kPageMax), input.next_token, 5, kPageMax);
        w::DescribeInstanceInformationResult answer;
        for (const auto& [id, node] : commands.nodes()) {
          const std::string ping = commands.ping_status(node);
          const bool all = std::all_of(filters.begin(), filters.end(), [&, &its = node](const NodeFilter& filter) {
            return matches(filter, its, ping, commands.tags(its));
          });
          if (!all || !page.takes(id)) continue;
          auto& one = answer.instance_information_list.emplace_back();
          one.instance_id = id;
          one.ping_status = ping;
          one.last_ping_date_time = node.last_ping;
          one.platform_type = "Linux";
          one.platform_name = node.platform_name;
          one.platform_version = node.platform_version;
          one.resource_type = "EC2Instance";
          one.ip_address = node.address;
          one.computer_name = node.computer_name;
          one.source_id = id;
          one.source_type = "AWS::EC2::Instance";
        }
        answer.next_token = page.next_token();
        return answer;
      });
}

}  // namespace

void serve(Handlers& handlers, Commands& commands) {
  send_and_cancel(handlers, commands);
  list(handlers, commands);
  nodes(handlers, commands);
}

}  // namespace kiln::region::ssm
