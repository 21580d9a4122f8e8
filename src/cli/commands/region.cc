// kiln region: the AWS region on this machine.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/parser.h"
#include "cli/region_process.h"
#include "region/aws_regions.h"
#include "region/iam/keyring.h"
#include "region/inventory.h"
#include "region/journal.h"

namespace kiln::cli {
namespace {

constexpr std::size_t kLogLines = 50;
constexpr Duration kLogPace{200};
constexpr Duration kDelayMax{300'000};

// What is in it, also when its control plane is dead. Simulated machines keep nothing on disk.
std::vector<region::Inventory> inventory_of(const Context& context, const RegionRecord& record) {
  const host::Path journal = context.region_folder(record.name) / "journal.db";
  if (!std::filesystem::exists(journal)) return {};
  return region::read_inventory(region::FileJournal(journal), record.account, record.aws_region);
}

nlohmann::json to_json(const std::vector<region::Inventory>& inventory) {
  nlohmann::json all = nlohmann::json::array();
  for (const region::Inventory& place : inventory) {
    nlohmann::json held = nlohmann::json::object();
    for (const region::Held& kind : place.held) held[kind.kind] = kind.things;
    all.push_back({{"account", place.account},
                   {"region", place.region.empty() ? nlohmann::json() : nlohmann::json(place.region)},
                   {"held", held}});
  }
  return all;
}

// "3 instances (2 running, 1 stopped)".
std::string describe(const region::Held& held) {
  std::map<std::string, int> states;
  for (const auto& [name, state] : held.things) ++states[state];
  states.erase("");
  std::vector<std::string> counts;
  for (const auto& [state, count] : states) counts.push_back(fmt::format("{} {}", count, state));
  std::string kind = held.kind;
  if (held.things.size() == 1) kind = kind == "policies" ? "policy" : kind.substr(0, kind.size() - 1);
  return fmt::format("{} {}{}", held.things.size(), kind, counts.empty() ? "" : " (" + join(counts, ", ") + ")");
}

void say_inventory(const std::vector<region::Inventory>& inventory) {
  if (inventory.empty()) say("  holds      nothing");
  for (const region::Inventory& place : inventory) {
    say(fmt::format("  account {}, {}", place.account, place.region.empty() ? "all regions" : place.region));
    for (const region::Held& held : place.held) say("    " + describe(held));
  }
}

int status(Context& context, const std::string& name, bool json) {
  auto record = read_region_record(context, name);
  bool running = record && record->running();
  if (json) {
    nlohmann::json answer = {{"name", name}, {"running", running}};
    if (record) {
      answer["pid"] = running ? nlohmann::json(record->process.pid) : nlohmann::json();
      answer["endpoint"] = record->endpoint;
      answer["machines"] = record->machines;
      answer["aws_region"] = record->aws_region;
      answer["account"] = record->account;
      answer["state_bytes"] = state_bytes(context.region_folder(name));
      answer["inventory"] = to_json(inventory_of(context, *record));
    }
    say_json(answer);
    return 0;
  }
  if (!record) {
    say(fmt::format("region '{}' does not exist", name));
    return 0;
  }
  if (!running) {
    say(fmt::format("region '{}' is stopped; kiln region start brings it back", name));
    say_inventory(inventory_of(context, *record));
    return 0;
  }
  say(fmt::format("region '{}' runs as process {}", name, record->process.pid));
  say(fmt::format("  endpoint   {}   ({}, account {})", record->endpoint, record->aws_region, record->account));
  say(fmt::format("  machines   {}", record->machines));
  if (record->throttle) say("  throttled  calls beyond AWS's rates are refused");
  if (record->describe_delay > Duration(0)) {
    say(fmt::format("  delayed    EC2's describe calls see what was so {} ago",
                    format_duration(record->describe_delay)));
  }
  say(fmt::format("  state      {}  {}", context.region_folder(name).string(),
                  format_bytes(state_bytes(context.region_folder(name)))));
  say("  not enforced: IAM policies, but for the trust policies of roles; encryption, IOPS and throughput of volumes");
  say_inventory(inventory_of(context, *record));
  return 0;
}

// Which account's root and which region the printed environment is of; empty: the region's own.
struct Choice {
  std::string account;
  std::string region;
};

wire::Credentials root_keys(const RegionRecord& record, const std::string& account) {
  if (account.empty() || account == record.account) return {record.access_key, record.secret_key, ""};
  if (!region::iam::is_account(account)) {
    throw Error(ErrorCode::usage, fmt::format("'{}' is no account", account),
                "Give 12 digits, for example --account 210987654321");
  }
  if (record.root_seed.empty()) {
    throw Error(ErrorCode::unavailable,
                fmt::format("region '{}' was started before it had other accounts", record.name),
                "Start it again, which ends its instances: kiln region stop; kiln region start");
  }
  return region::iam::root_credentials(record.root_seed, account);
}

int print_environment(Context& context, const std::string& name, const Choice& choice, bool json) {
  const RegionRecord record = require_region(context, name);
  const wire::Credentials keys = root_keys(record, choice.account);
  const std::string aws_region = choice.region.empty() ? record.aws_region : choice.region;
  if (json) {
    say_json({{"AWS_ENDPOINT_URL", record.endpoint},
              {"AWS_REGION", aws_region},
              {"AWS_DEFAULT_REGION", aws_region},
              {"AWS_ACCESS_KEY_ID", keys.access_key},
              {"AWS_SECRET_ACCESS_KEY", keys.secret_key}});
    return 0;
  }
  say(fmt::format("export AWS_ENDPOINT_URL={}", record.endpoint));
  say(fmt::format("export AWS_REGION={} AWS_DEFAULT_REGION={}", aws_region, aws_region));
  say(fmt::format("export AWS_ACCESS_KEY_ID={}", keys.access_key));
  say(fmt::format("export AWS_SECRET_ACCESS_KEY={}", keys.secret_key));
  say("unset AWS_SESSION_TOKEN AWS_PROFILE");
  return 0;
}

// Lines as they come, until Ctrl-C; goes on in the new file when the log is turned over.
void follow(Context& context, const host::Path& log, std::uintmax_t at) {
  context.watch_interrupts();
  for (; !Context::interrupted(); context.clock.sleep(kLogPace)) {
    if (!std::filesystem::exists(log)) continue;
    const std::string text = host::read_file(log);
    if (text.size() < at) at = 0;
    const std::size_t end = text.rfind('\n');
    if (end == std::string::npos || end < at) continue;
    say(text.substr(at, end - at));
    at = end + 1;
  }
}

int print_log(Context& context, const std::string& name, bool events, bool json, bool following) {
  host::Path log = context.region_folder(name) / (events ? "events.log" : "requests.log");
  std::string text = std::filesystem::exists(log) ? last_lines(host::read_file(log), kLogLines) : "";
  if (json) {
    say_json({{"name", name}, {"lines", text.empty() ? std::vector<std::string>() : split(text, '\n')}});
  } else {
    say(!text.empty() ? text : events ? "nothing has happened yet" : "no call yet");
  }
  if (following) follow(context, log, std::filesystem::exists(log) ? std::filesystem::file_size(log) : 0);
  return 0;
}

}  // namespace

int run_region(Context& context, const std::vector<std::string>& words) {
  Parser parser;
  std::string verb;
  RegionStart start;
  Choice choice;
  bool json = false;
  bool following = false;
  parser.option("verb", verb).required().one_of({"start", "serve", "status", "env", "log", "stop", "reset"});
  parser.option("--name", start.name).check([](const std::string& name) {
    bool good = !name.empty() && name.size() <= 32 &&
                name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string::npos;
    return good ? std::string() : "a region's name has small letters, digits and '-', at most 32";
  });
  parser.option("--port", start.port).within(0, 65535);
  parser.option("--machines", start.machines).one_of({"nspawn", "simulated"});
  std::string delay;
  parser.option("--describe-delay", delay).check([](const std::string& text) {
    try {
      if (parse_duration(text) <= kDelayMax) return std::string();
    } catch (const Error&) {
    }
    return std::string("a time from 0s to 5m, as in 2s or 500ms");
  });
  parser.flag("--throttle,!--no-throttle", start.throttle);
  bool events = false;
  parser.flag("--follow,-f", following);
  parser.flag("--events", events);
  parser.option("--account", choice.account);
  parser.option("--region", choice.region).check([](const std::string& name) {
    return region::find_aws_region(name) != nullptr ? std::string() : name + " is no AWS region; one is us-east-1";
  });
  parser.flag("--json", json);
  if (!parser.parse("region", words)) return 0;
  if (verb != "env" && !(choice.account + choice.region).empty()) {
    throw Error(ErrorCode::usage, "--account and --region belong to kiln region env", "See: kiln help region");
  }
  if (verb != "log" && (events || following)) {
    throw Error(ErrorCode::usage, "--events and --follow belong to kiln region log", "See: kiln help region");
  }
  if (!delay.empty()) start.describe_delay = parse_duration(delay);
  if (verb == "serve") return serve_region(context, start);
  if (verb == "status") return status(context, start.name, json);
  if (verb == "env") return print_environment(context, start.name, choice, json);
  if (verb == "log") return print_log(context, start.name, events, json, following);
  if (verb == "stop") {
    stop_region(context, start.name);
    say(fmt::format("region '{}' is stopped", start.name));
    return 0;
  }
  if (verb == "reset") {
    reset_region(context, start.name);
    say(fmt::format("region '{}' is gone", start.name));
    return 0;
  }
  RegionRecord record = start_region(context, start);
  if (json) {
    say_json({{"name", record.name}, {"pid", record.process.pid}, {"endpoint", record.endpoint}});
  } else {
    say(fmt::format("region '{}' answers at {}", record.name, record.endpoint));
  }
  return 0;
}

}  // namespace kiln::cli
