// Recipe: what kiln.yaml's `image:` is read into, and what it says about a wrong one.
#include "spec/recipe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "spec/app.h"

namespace kiln::spec {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

ImageSpec image_of(const std::string& lines) { return parse_app("app: web\nimage:\n" + lines).image; }

ImageSpec with_steps(const std::string& steps, const std::string& lines = "") {
  return image_of("  from: debian:bookworm\n" + lines + "  steps:\n" + steps);
}

std::string refused(const std::string& lines) {
  try {
    image_of(lines);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    return error.message() + "\n" + error.next();
  }
  return "accepted";
}

TEST(Recipe, EveryKindOfBase) {
  const auto base = [](const std::string& from) {
    return image_of("  from: " + from + "\n  steps: [{run: a}]\n").base;
  };
  EXPECT_EQ(base("debian:trixie"), Base{DebianBase{"trixie"}});
  EXPECT_EQ(base("{image: base@1.4.2}"), Base{ImageBase{"base@1.4.2"}});
  EXPECT_EQ(base("{archive: roots/base.tar.zst}"), Base{ArchiveBase{"roots/base.tar.zst"}});
  EXPECT_EQ(base("{oci: 'docker://registry.example/base:1'}"), Base{OciBase{"docker://registry.example/base:1"}});
  EXPECT_EQ(base("{ami: ami-0123456789abcdef0}"), Base{AmiBase{.id = "ami-0123456789abcdef0"}});
  const AmiBase searched{
      .id = "", .owners = {"self"}, .filters = {{"name", {"base-*"}}, {"state", {"available"}}}, .most_recent = true};
  EXPECT_EQ(base("{ami: {owners: self, filters: {name: 'base-*', state: [available]}, most_recent: true}}"),
            Base{searched});
  EXPECT_THAT(refused("  from: {ami: {most_recent: true}}\n  steps: [{run: a}]\n"), HasSubstr("either 'id', or"));
  EXPECT_THAT(refused("  from: {archive: ../x}\n  steps: [{run: a}]\n"), HasSubstr("must not contain '..'"));
  EXPECT_THAT(refused("  from: {image: a@1, oci: 'docker://x'}\n  steps: [{run: a}]\n"), HasSubstr("exactly one"));
  EXPECT_THAT(refused("  steps: [{run: a}]\n"), HasSubstr("'image' lacks the key 'from'"));
  EXPECT_THAT(refused("  from: debian:bookworm\n"), HasSubstr("'image' lacks the key 'steps'"));
}

TEST(Recipe, AnotherFileMayDescribeTheImage) {
  EXPECT_EQ(image_of("  packer: web.pkr.hcl\n").source, ImageSource{PackerSource{.template_path = "web.pkr.hcl"}});
  const PackerSource packer{.template_path = "t.json",
                            .variables = {{"region", "eu-west-1"}},
                            .variable_files = {"a.json"},
                            .only = {"amazon-ebs"}};
  EXPECT_EQ(image_of("  packer: {template: t.json, variables: {region: eu-west-1}, variable_files: a.json, "
                     "only: amazon-ebs}\n")
                .source,
            ImageSource{packer});
  const DockerfileSource docker{.file = "Dockerfile", .context = "app", .target = "run", .args = {{"A", "1"}}};
  EXPECT_EQ(image_of("  dockerfile: {file: Dockerfile, context: app, target: run, args: {A: 1}}\n").source,
            ImageSource{docker});
  const ImageBuilderSource builder{.components = {"a.yml", "b.yml"}, .parameters = {{"Port", "80"}}};
  EXPECT_EQ(image_of("  from: debian:bookworm\n  image_builder: {components: [a.yml, b.yml], parameters: {Port: 80}}\n")
                .source,
            ImageSource{builder});
  EXPECT_THAT(refused("  packer: a.json\n  dockerfile: Dockerfile\n"), HasSubstr("has 'packer' and 'dockerfile'"));
  EXPECT_THAT(refused("  packer: a.json\n  steps: [{run: a}]\n"), HasSubstr("cannot stand beside 'packer'"));
  EXPECT_THAT(refused("  image_builder: {parameters: {A: b}}\n"), HasSubstr("either 'recipe' or 'components'"));
}

TEST(Recipe, StepsWithAllTheirKeys) {
  const ImageSpec image = with_steps(
      "    - run: {commands: [make], shell: /bin/bash, environment: {CC: gcc}, secrets: [token]}\n"
      "      name: make\n"
      "    - template: {from: a.conf, to: /etc/, variables: {port: 80}, owner: www-data}\n"
      "      after: [make]\n"
      "    - copy: {from: site/, to: /srv, owner: web:adm, ignore: ['*.bak']}\n"
      "      after: []\n"
      "    - disable: cron\n"
      "    - user: {name: deploy, uid: 1500, groups: [adm], shell: /bin/bash, home: /home/deploy}\n"
      "    - host: make site\n",
      "  variables: {port: 8080, name: web}\n  secrets: [{name: token, env: TOKEN}, {name: key, file: key.pem}]\n"
      "  kernel_arguments: [quiet, console=ttyS0]\n");
  ASSERT_EQ(image.steps.size(), 7U);
  const auto& run = std::get<RunStep>(image.steps[0].action);
  EXPECT_THAT(run.shell, ElementsAre("/bin/bash", "-ec"));
  EXPECT_EQ(run.environment, (Variables{{"CC", "gcc"}}));
  EXPECT_THAT(run.secrets, ElementsAre("token"));
  EXPECT_EQ(image.steps[0].name, "make");
  const auto& text = std::get<CopyStep>(image.steps[1].action);
  EXPECT_EQ(*text.variables, (Variables{{"port", "80"}, {"port", "8080"}, {"name", "web"}})) << "its own come first";
  EXPECT_EQ(text.user, "www-data");
  EXPECT_EQ(image.steps[1].text(), "template a.conf /etc/ owner=www-data");
  EXPECT_EQ(image.steps[1].where, (Location{10, 7}));
  EXPECT_THAT(*image.steps[1].after, ElementsAre("make"));
  EXPECT_EQ(image.steps[2].text(), "copy site/ /srv owner=web:adm");
  EXPECT_TRUE(image.steps[2].after->empty());
  EXPECT_FALSE(image.steps[3].after.has_value());
  EXPECT_EQ(image.steps[3].text(), "disable cron.service");
  EXPECT_THAT(std::get<RunStep>(image.steps[4].action).commands,
              ElementsAre("useradd --no-log-init --user-group --shell /bin/bash --uid 1500 --groups adm --create-home "
                          "--home-dir /home/deploy -- deploy"));
  EXPECT_TRUE(std::holds_alternative<HostStep>(image.steps[5].action));
  EXPECT_EQ(image.steps[6].text(), "kernel arguments quiet console=ttyS0");
  EXPECT_EQ(image.secrets[1].file, "key.pem");
}

TEST(Recipe, RepositoriesAndMirrors) {
  const ImageSpec image =
      with_steps("    - packages: [htop]\n",
                 "  mirror: http://mirror.example/debian\n  repositories:\n    - {name: tools, url: "
                 "'https://apt.example/tools', suite: bookworm, components: [main, extra], key: keys/tools.asc}\n");
  ASSERT_EQ(image.repositories.size(), 1U);
  EXPECT_EQ(image.repositories[0].key, "keys/tools.asc");
  EXPECT_THAT(image.repositories[0].components, ElementsAre("main", "extra"));
  EXPECT_EQ(image.mirror, "http://mirror.example/debian");
  EXPECT_THAT(refused("  from: debian:bookworm\n  repositories: [{name: a, url: 'http://a', suite: x, key: k}]\n  "
                      "steps: [{run: a}]\n"),
              HasSubstr("a repository has 'components'"));
}

TEST(Recipe, NamesThatNobodyHasAndOrdersThatGoRoundAreRefused) {
  const auto steps = [](const std::string& lines) { return refused("  from: debian:bookworm\n  steps:\n" + lines); };
  EXPECT_THAT(steps("    - {run: a, name: first}\n    - {run: b, after: [frist]}\n"),
              HasSubstr("kiln.yaml:6:24: no step has the name 'frist'; did you mean 'first'?"));
  EXPECT_THAT(steps("    - {run: a, name: a, after: [b]}\n    - {run: b, name: b, after: [a]}\n"),
              HasSubstr("kiln.yaml:5:33: 'b' is not above this step"));
  EXPECT_THAT(steps("    - {run: a, name: a, after: [a]}\n"), HasSubstr("'a' is not above this step"));
  EXPECT_THAT(steps("    - {run: a, name: a}\n    - {run: b, name: a}\n"), HasSubstr("two steps have the name 'a'"));
  EXPECT_THAT(steps("    - {name: a}\n"), HasSubstr("'steps' must have exactly one of the keys packages, copy"));
  EXPECT_THAT(steps("    - {run: a, copy: {from: a, to: /a}}\n"), HasSubstr("exactly one"));
  EXPECT_THAT(steps("    - run: {commands: a, secrets: [token]}\n"), HasSubstr("'image' has no secret 'token'"));
  EXPECT_THAT(steps("    - user: {name: a b}\n"), HasSubstr("must be a user's name"));
  EXPECT_THAT(steps("    - run: {commands: a, environment: {'A B': x}}\n"), HasSubstr("a name in 'environment'"));
  EXPECT_THAT(refused("  from: debian:bookworm\n  secrets: [{name: a}]\n  steps: [{run: a}]\n"),
              HasSubstr("the secret 'a' needs either 'env' or 'file'"));
  EXPECT_THAT(refused("  from: debian:bookworm\n  kernel_arguments: [\"a'b\"]\n  steps: [{run: a}]\n"),
              HasSubstr("must be a kernel argument"));
}

}  // namespace
}  // namespace kiln::spec
