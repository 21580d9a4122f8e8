// kiln bake: what to bake and how, as it is typed.
#include <fmt/format.h>

#include "base/error.h"
#include "base/mask.h"
#include "cli/command.h"
#include "cli/foreign_images.h"
#include "cli/image_bake.h"
#include "cli/instance_bake.h"
#include "cli/packer_bake.h"
#include "cli/parser.h"
#include "cli/session.h"

namespace kiln::cli {
namespace {

// kiln.yaml's app, or that of a template of Packer's, which a word or kiln.yaml may name.
BakeRecipe load(Context& context, packer::Request& request, const std::vector<std::string>& variables) {
  BakeRecipe recipe;
  for (const std::string& variable : variables) {
    const auto equals = variable.find('=');
    if (equals == std::string::npos)
      throw Error(ErrorCode::usage, fmt::format("-var {} has no value", variable), "Write it as -var NAME=VALUE.");
    request.variables.emplace_back(variable.substr(0, equals), variable.substr(equals + 1));
  }
  if (!request.path.empty()) {
    recipe.packer = app_of_template(context, request, recipe.app);
    return recipe;
  }
  if (!variables.empty() || !request.variable_files.empty() || !request.only.empty() || !request.except.empty())
    throw Error(ErrorCode::usage, "-var, -var-file, -only and -except are for templates of Packer's",
                "name the template: kiln bake web.pkr.hcl -var ..; kiln.yaml has 'variables' under 'image'");
  recipe.app = load_app(context);
  recipe.packer = read_packer_source(context, recipe.app);
  recipe.dockerfile = read_foreign_source(recipe.app, context.folder);
  return recipe;
}

// One of `flags` at most.
ImageBake::Aim aim_of(const std::vector<std::pair<bool, ImageBake::Aim>>& flags) {
  ImageBake::Aim aim = ImageBake::Aim::image;
  for (const auto& [given, one] : flags) {
    if (!given) continue;
    if (aim != ImageBake::Aim::image) {
      throw Error(ErrorCode::usage, "--container, --explain, --check and --shell cannot be had together",
                  "See: kiln help bake");
    }
    aim = one;
  }
  return aim;
}

int bake_recipe(Context& context, const BakeRecipe& recipe, const ImageBake& asked, InstanceBake instance,
                bool in_instance) {
  if (recipe.packer) tell_notes(*recipe.packer, in_instance);
  if (!in_instance && recipe.packer && recipe.packer->build().surrogate) {
    throw recipe.app.source.error(
        recipe.app.image.where,
        "'amazon-ebssurrogate' fills a volume of its own, and a bake on this machine has layers "
        "of files instead",
        "Bake it in an instance, of AWS or of the region here: kiln bake --in-instance");
  }
  if (!in_instance) return bake_image(context, recipe, asked);
  if (recipe.dockerfile) {
    throw recipe.app.source.error(recipe.app.image.where, "a Dockerfile is not built in an instance",
                                  "Bake offline: kiln bake.");
  }
  instance.environment = asked.environment;
  instance.key_file = asked.key_file;
  instance.keep = asked.keep;
  instance.json = asked.json;
  instance.verbose = asked.verbose;
  return bake_in_instance(context, recipe, instance);
}

}  // namespace

int run_bake(Context& context, const std::vector<std::string>& words) {
  Parser parser;
  ImageBake asked;
  InstanceBake instance;
  packer::Request request;
  std::vector<std::string> variables;
  bool shell = false, explain = false, check = false, container = false, in_instance = false;
  parser.flag("--json", asked.json);
  parser.flag("--verbose,-v", asked.verbose);
  parser.flag("--no-cache", asked.no_cache);
  parser.flag("--no-publish", asked.no_publish);
  parser.flag("--update", asked.update);
  parser.flag("--keep", asked.keep);
  parser.option("--env", asked.environment);
  parser.option("--key", asked.key_file);
  parser.flag("--container", container);
  parser.flag("--explain", explain);
  parser.flag("--check", check);
  parser.flag("--shell", shell);
  parser.option("--step", asked.shell_step).within(1, 10'000);
  parser.flag("--in-instance", in_instance);
  parser.flag("--no-test", instance.no_test);
  parser.option("--instance-type", instance.instance_type);
  parser.option("--instance-profile", instance.instance_profile);
  parser.option("--subnet", instance.subnet);
  parser.option("template,--packer", request.path);
  parser.option("--var", variables);
  parser.option("--var-file", request.variable_files);
  parser.option("--only", request.only).separated_by(',');
  parser.option("--except", request.except).separated_by(',');
  if (!parser.parse("bake", with_two_dashes(words))) return 0;

  using Aim = ImageBake::Aim;
  asked.aim = aim_of({{container, Aim::container}, {explain, Aim::explain}, {check, Aim::check}, {shell, Aim::shell}});
  if (in_instance && (asked.aim != Aim::image || asked.update || asked.no_publish || asked.no_cache)) {
    throw Error(
        ErrorCode::usage,
        "--container, --explain, --check, --update, --no-cache, --no-publish and --shell are for bakes on this machine",
        "See: kiln help bake");
  }
  if (!in_instance && (instance.no_test || !instance.instance_type.empty() || !instance.instance_profile.empty() ||
                       !instance.subnet.empty())) {
    throw Error(ErrorCode::usage, "--no-test, --instance-type, --instance-profile and --subnet are for --in-instance",
                "See: kiln help bake");
  }
  const BakeRecipe recipe = load(context, request, variables);
  try {
    return bake_recipe(context, recipe, asked, instance, in_instance);
  } catch (const Error& error) {
    if (recipe.app.image.hidden.empty()) throw;
    throw masked(error, recipe.app.image.hidden);
  }
}

}  // namespace kiln::cli
