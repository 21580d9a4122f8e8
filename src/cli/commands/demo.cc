// kiln demo: a whole deployment, by Kiln's own commands.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/embedded.h"
#include "cli/load.h"
#include "cli/parser.h"
#include "cli/region_process.h"
#include "host/lock.h"
#include "host/process.h"

namespace kiln::cli {
namespace {

constexpr int kDemosMax = 9;  // each has a region and a store of its own

struct Options {
  bool keep = false;
  int instances = 4;
  double rate = 500;
};

struct Timing {
  std::string what;
  Duration took{};
};

// Text that a person can paste into a shell.
std::string shell_words(const std::vector<std::string>& words) {
  std::vector<std::string> quoted;
  for (const std::string& word : words) {
    const bool plain = std::ranges::all_of(word, [](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) ||
             std::string_view("-_./:=@").find(c) != std::string_view::npos;
    });
    quoted.push_back(plain && !word.empty() ? word : "'" + word + "'");
  }
  return join(quoted, " ");
}

// The story's stage: a folder with the app, Kiln's own program, and what it took so far.
class Stage {
 public:
  Stage(Context& context, const Options& options)
      : context_(context), options_(options), program_(std::filesystem::read_symlink("/proc/self/exe")) {}

  void prepare() {
    host::remove_tree(app());
    for (const EmbeddedFile& file : example_app()) {
      host::Path path = app() / file.name;
      host::make_folders(path.parent_path());
      host::write_file(path, file.text);
    }
    edit("kiln.yaml", "size: 4", fmt::format("size: {}", options_.instances));
  }

  host::Path app() const { return context_.home / "web"; }

  // Runs one of Kiln's commands on the user's terminal, printed first. Any other exit code than `expected` ends the
  // story.
  void run(const std::vector<std::string>& arguments, int expected = 0) {
    const std::string words = shell_words(arguments);
    say(fmt::format("\n$ kiln {}", words));
    Duration began = context_.clock.uptime();
    host::Command command;
    command.argv = arguments;
    command.argv.insert(command.argv.begin(), program_);
    command.env = {{"KILN_HOME", context_.home.string()}};
    command.cwd = app().string();
    int status = host::run_attached(command);
    timings_.push_back({"kiln " + words, context_.clock.uptime() - began});
    stop_if_interrupted();
    if (status != expected) {
      throw Error(ErrorCode::internal, fmt::format("'kiln {}' ended with {} instead of {}", words, status, expected),
                  "Look at the lines above; --keep leaves everything as it is.");
    }
  }

  // Changes a file of the app as an editor would, and says so.
  void edit(const std::string& file, const std::string& from, const std::string& to) {
    std::string text = host::read_file(app() / file);
    std::size_t at = text.find(from);
    KILN_ASSERT(at != std::string::npos, "the example has the text that the demo changes");
    for (; at != std::string::npos; at = text.find(from, at + to.size())) text.replace(at, from.size(), to);
    host::write_file(app() / file, text);
  }
  void change_version(const std::string& from, const std::string& to) {
    say(fmt::format("\n$ sed -i s/{}/{}/ kiln.yaml site/index.html", from, to));
    edit("kiln.yaml", from, to);
    edit("site/index.html", from, to);
  }

  // Reads the fleet's address from `kiln status --json`.
  std::string url() {
    host::Command command;
    command.argv = {program_, "status", "--json"};
    command.env = {{"KILN_HOME", context_.home.string()}};
    command.cwd = app().string();
    return nlohmann::json::parse(host::run_checked(command).out).at("url").get<std::string>();
  }

  void stop_if_interrupted() const {
    if (Context::interrupted())
      throw Error(ErrorCode::cancelled, "the demo was interrupted",
                  "kiln demo begins anew, and removes what this one left.");
  }
  const std::vector<Timing>& timings() const { return timings_; }

 private:
  Context& context_;
  Options options_;
  std::string program_;
  std::vector<Timing> timings_;
};

void chapter(const std::string& text) { say("\n── " + text); }

void summarise(const Stage& stage, const LoadReport& report) {
  chapter("What happened");
  for (const Timing& timing : stage.timings())
    say(fmt::format("  {:>10}  {}", format_seconds(timing.took), timing.what));
  say(fmt::format("  requests    {} sent, {} failed; {:.0f} a second; p50 {:.1f} ms, p99 {:.1f} ms, longest {:.0f} ms",
                  report.sent, report.failed, report.per_second(), report.p50_ms, report.p99_ms, report.max_ms));
  for (const auto& [version, count] : report.by_version)
    say(fmt::format("              {} answered by {}", count, version));
  for (const std::string& failure : report.failures) say("  failed      " + failure);
}

void tell_story(Context& context, const Options& options, Stage& stage) {
  std::string status_file = (context.home / "load.json").string();
  chapter("An AWS region on this machine, and a first version behind its load balancer");
  say(fmt::format("$ export KILN_HOME={}\n$ cd {}", shell_words({context.home.string()}),
                  shell_words({stage.app().string()})));
  stage.run({"region", "start", "--port", "0"});
  stage.run({"bake"});
  stage.run({"deploy"});

  LoadOptions load_options;
  load_options.url = stage.url() + "/";
  load_options.rate = options.rate;
  load_options.contains = "web 1.";
  load_options.status_file = status_file;
  chapter(
      fmt::format("{} requests a second from here on, every answer checked: kiln load {} --rate {} --expect 'web 1.'",
                  options.rate, load_options.url, options.rate));
  Load load(load_options, context.clock);
  load.start();

  chapter("1.1.0 replaces it: new instances are healthy before old ones are drained and ended");
  stage.change_version("1.0.0", "1.1.0");
  stage.run({"bake"});
  stage.run({"deploy", "--load", status_file});

  chapter("1.2.0 is bad: it answers 500 on /healthz. It goes back by itself (exit code 3)");
  stage.change_version("1.1.0", "1.2.0");
  say("$ sed -i 's/try_files.*/return 500;/' nginx.conf");
  stage.edit("nginx.conf", "try_files /healthz =404;", "return 500;");
  stage.run({"bake"});
  stage.run({"deploy", "--load", status_file}, 3);

  chapter("Back from 1.1.0 to 1.0.0, with the image that is there");
  stage.run({"rollback", "--load", status_file});
  stage.run({"status"});

  LoadReport report = load.stop();
  summarise(stage, report);
  if (report.failed > 0)
    throw Error(ErrorCode::internal, fmt::format("{} requests failed", report.failed),
                "Look at the lines above; --keep leaves everything as it is.");
}

void take_down(Stage& stage) {
  chapter("Taking everything down");
  stage.run({"destroy", "--yes"});
  stage.run({"region", "reset"});
  stage.run({"ledger", "verify"});
}

void say_how_to_go_on(const Context& context, const Stage& stage) {
  chapter("It is left running");
  say(fmt::format("  look    export KILN_HOME={}; cd {}; kiln status --watch", shell_words({context.home.string()}),
                  shell_words({stage.app().string()})));
  say("  AWS     eval \"$(kiln region env)\"; aws ec2 describe-instances");
  say("  end     kiln destroy --yes; kiln region reset");
}

// A state folder that no other demo on this machine uses: demo, else demo-2 and so on.
host::FileLock take_home(Context& context) {
  const host::Path all = context.home;
  for (int number = 1; number <= kDemosMax; ++number) {
    context.home = all / (number == 1 ? std::string("demo") : fmt::format("demo-{}", number));
    host::make_folders(context.home);
    const host::Path path = context.home / "demo.lock";
    if (auto lock = host::FileLock::try_take(path, "kiln demo", context.clock.now())) return std::move(*lock);
    const auto holder = host::FileLock::holder(path);
    say(fmt::format("{} is another demo's{}", context.home.string(),
                    holder ? fmt::format(" (process {}, since {})", holder->pid, format_iso8601(holder->since)) : ""));
  }
  throw Error(ErrorCode::held, fmt::format("{} demos run in {}", kDemosMax, all.string()), "Wait for one of them.");
}

// What a demo with --keep, or one that was killed, has left in this folder.
void end_demo_before(Context& context) {
  const std::string region(kDefaultRegion);
  if (std::filesystem::exists(context.region_folder(region))) {
    const auto record = read_region_record(context, region);
    const bool runs = record && record->running();
    say(fmt::format("a demo from before is still in {}; its region{} and its instances are ended first",
                    context.home.string(), runs ? " at " + record->endpoint : ""));
  }
  reset_region(context, region);
  host::remove_tree(context.ledger_folder());
}

}  // namespace

int run_demo(Context& context, const std::vector<std::string>& words) {
  Parser parser;
  Options options;
  parser.flag("--keep", options.keep);
  parser.option("--instances", options.instances).within(1, 20);
  parser.option("--rate", options.rate).within(1, 5000);
  if (!parser.parse("demo", words)) return 0;

  const host::FileLock lock = take_home(context);
  context.watch_interrupts();
  end_demo_before(context);
  Stage stage(context, options);
  stage.prepare();
  try {
    tell_story(context, options, stage);
  } catch (...) {
    if (!options.keep) reset_region(context, std::string(kDefaultRegion));
    throw;
  }
  if (options.keep) {
    say_how_to_go_on(context, stage);
  } else {
    take_down(stage);
  }
  return 0;
}

}  // namespace kiln::cli
