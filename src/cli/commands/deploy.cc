// kiln deploy: replaces the fleet by a version.
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/command.h"
#include "cli/parser.h"
#include "cli/session.h"
#include "deploy/preview.h"
#include "fleet/observe.h"

namespace kiln::cli {

int run_deploy(Context& context, const std::vector<std::string>& words) {
  Parser parser;
  bool json = false;
  std::string environment, image, load;
  parser.flag("--json", json);
  parser.option("--env", environment);
  parser.option("--image", image);
  parser.option("--load", load);
  if (!parser.parse("deploy", words)) return 0;
  Session session(context, environment);
  deploy::Wanted wanted = wanted_of(context, session, image);
  if (!json) {
    talk(trim(deploy::describe(
        deploy::preview(wanted, fleet::look(session.connection.client(), session.names, {wanted.ami})))));
    talk("");
  }
  return run_engine(context, session, json, load, [&](deploy::Engine& engine) { return engine.run(wanted); });
}

}  // namespace kiln::cli
