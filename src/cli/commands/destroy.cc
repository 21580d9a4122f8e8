// kiln destroy: ends everything that belongs to the app in an environment.
#include "deploy/destroy.h"

#include <fmt/format.h>
#include <unistd.h>

#include <iostream>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/parser.h"
#include "cli/session.h"
#include "fleet/observe.h"

namespace kiln::cli {
namespace {

bool confirmed(const fleet::Names& names) {
  if (::isatty(STDIN_FILENO) == 0) {
    throw Error(ErrorCode::usage, "destroy asks first, and there is no terminal to ask on",
                "Say it beforehand: kiln destroy --yes");
  }
  fmt::print(stderr, "Type the app's name ({}) to end all of this: ", names.app);
  std::string answer;
  return bool(std::getline(std::cin, answer)) && trim(answer) == names.app;
}

}  // namespace

int run_destroy(Context& context, const std::vector<std::string>& words) {
  Parser parser;
  bool yes = false, images = false;
  std::string environment;
  parser.flag("--yes,-y", yes);
  parser.flag("--images", images);
  parser.option("--env", environment);
  if (!parser.parse("destroy", words)) return 0;
  Session session(context, environment);
  aws::Client& client = session.connection.client();
  std::vector<fleet::Image> amis;
  if (images) amis = fleet::look_at_images(client, session.app.name);
  deploy::DestroyPlan plan = deploy::plan_destroy(session.names, fleet::look(client, session.names), amis);
  if (plan.done()) {
    say(fmt::format("nothing of {} is there", session.names.title()));
    return 0;
  }
  std::string named = deploy::describe(plan);
  named.pop_back();  // its last newline: talk adds one
  talk(named);
  if (!yes && !confirmed(session.names))
    throw Error(ErrorCode::cancelled, "nothing was ended", "Run it again, or say it beforehand: kiln destroy --yes");
  context.watch_interrupts();
  deploy::DestroyOptions options;
  options.images = images;
  options.poll = session.connection.local() ? Duration(200) : Duration(5000);
  options.on_change = [](const std::string& line) { talk("  " + line); };
  options.cancelled = &Context::interrupted();
  deploy::destroy(client, session.ledger, context.clock, context.locks_folder(), session.names, options);
  say(fmt::format("{} is gone", session.names.title()));
  return 0;
}

}  // namespace kiln::cli
