// kiln init: a first kiln.yaml.
#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/parser.h"
#include "spec/app.h"

namespace kiln::cli {
namespace {

constexpr std::string_view kTemplate = R"(app: {0}

image:
  from: debian:bookworm
  version: 1.0.0                     # or git, or timestamp
  steps:
    - packages: [nginx]
    - enable: nginx
    - copy: {{from: site/, to: /var/www/html/}}
  writable: [/var/log/nginx, /var/lib/nginx]   # everything else of the root is read-only at run time

fleet:
  size: 2                            # MinSize 2, and up to 4 while it is being replaced
  instance_type: t3.micro
  listen: {{port: 8080, target_port: 80}}
  health: {{path: /healthz, interval: 5s, timeout: 2s}}
  drain: 5s

deploy:
  strategy: rolling
  rollback: automatic
)";

// An app's name is what AWS's names are made of: small letters, digits, '-'.
std::string name_of(const host::Path& folder) {
  std::string name;
  for (char c : to_lower(folder.filename().string())) {
    name += (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ? c : '-';
  }
  while (name.starts_with('-')) name.erase(0, 1);
  while (name.ends_with('-')) name.pop_back();
  if (name.empty() || (name[0] >= '0' && name[0] <= '9')) name = "app" + name;
  return name.substr(0, 20);
}

}  // namespace

int run_init(Context& context, const std::vector<std::string>& words) {
  Parser parser;
  std::string name;
  parser.option("name", name);
  if (!parser.parse("init", words)) return 0;
  host::Path path = context.folder / "kiln.yaml";
  if (std::filesystem::exists(path)) {
    throw Error(ErrorCode::already_exists, fmt::format("{} is there already; it was left as it is", path.string()),
                "Change it, or remove it and run kiln init again.");
  }
  if (name.empty()) name = name_of(context.folder);
  std::string text = fmt::format(kTemplate, name);
  spec::parse_app(text);  // a name that is not allowed is refused before anything is written
  host::write_file(path, text);
  for (auto [file, content] : {std::pair("index.html", fmt::format("{} 1.0.0\n", name)), {"healthz", "ok\n"}}) {
    host::make_folders(context.folder / "site");
    if (!std::filesystem::exists(context.folder / "site" / file)) {
      host::write_file(context.folder / "site" / file, content);
    }
  }
  say(fmt::format("wrote {} and site/", path.string()));
  say("next: kiln region start, then kiln bake, then kiln deploy");
  return 0;
}

}  // namespace kiln::cli
