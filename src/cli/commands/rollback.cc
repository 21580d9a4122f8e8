// kiln rollback: back to the version before, with the image that is there.
#include <fmt/format.h>

#include "base/error.h"
#include "cli/command.h"
#include "cli/parser.h"
#include "cli/session.h"
#include "deploy/rollback.h"
#include "fleet/observe.h"

namespace kiln::cli {

int run_rollback(Context& context, const std::vector<std::string>& words) {
  Parser parser;
  bool json = false;
  std::string environment, to, load, why = "asked for by 'kiln rollback'";
  parser.flag("--json", json);
  parser.option("--env", environment);
  parser.option("--to", to);
  parser.option("--why", why);
  parser.option("--load", load);
  if (!parser.parse("rollback", words)) return 0;
  Session session(context, environment);
  deploy::History history(session.ledger);
  auto unfinished = history.unfinished(session.app.name, session.names.environment);
  // A deployment that is under way is turned back; otherwise one begins that goes to the version before.
  if (unfinished && unfinished->verb == "deploy" && to.empty()) {
    // No image is looked for: which one it was, and which one comes back, is written down.
    deploy::Wanted wanted;
    wanted.names = session.names;
    wanted.fleet = session.fleet();
    wanted.deploy = session.environment.deploy;
    return run_engine(context, session, json, load,
                      [&](deploy::Engine& engine) { return engine.go_back(wanted, why); });
  }
  fleet::Fleet fleet = fleet::look(session.connection.client(), session.names);
  deploy::WayBack way =
      deploy::find_way_back(session.names, fleet, history, to.empty() ? std::nullopt : std::optional<std::string>(to));
  if (!json) {
    talk(fmt::format("{} goes back to {} (launch template version {}, {}); nothing is baked", session.names.title(),
                     way.version, way.template_version, way.ami));
  }
  // One that was revoked is wrong, whatever serves now is: no --force leads there, only `kiln restore`.
  const catalog::View known = session.catalog.view(session.app.name);
  if (const catalog::Image* image = known.image(session.app.name, way.version)) require_deployable(*image);
  deploy::prove(way, fleet);
  deploy::Wanted wanted = deploy::wanted_of(way, session.names, session.fleet(), session.environment.deploy);
  return run_engine(context, session, json, load,
                    [&](deploy::Engine& engine) { return engine.run(wanted, "rollback"); });
}

}  // namespace kiln::cli
