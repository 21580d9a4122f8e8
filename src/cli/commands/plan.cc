// kiln plan: what a deployment would do, and how it would go back.
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/command.h"
#include "cli/parser.h"
#include "cli/session.h"
#include "deploy/preview.h"
#include "fleet/observe.h"

namespace kiln::cli {

int run_plan(Context& context, const std::vector<std::string>& words) {
  Parser parser;
  bool json = false;
  std::string environment, image;
  parser.flag("--json", json);
  parser.option("--env", environment);
  parser.option("--image", image);
  if (!parser.parse("plan", words)) return 0;
  Session session(context, environment);
  deploy::Wanted wanted = wanted_of(context, session, image);
  deploy::Preview preview =
      deploy::preview(wanted, fleet::look(session.connection.client(), session.names, {wanted.ami}));
  if (json) {
    say_json(deploy::to_json(preview));
  } else {
    say(trim(deploy::describe(preview)));
  }
  return preview.refusals.empty() ? 0 : 1;
}

}  // namespace kiln::cli
