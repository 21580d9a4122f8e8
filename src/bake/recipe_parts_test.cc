// The parts of a recipe that need no root: ignore files, templates, secrets, the lock file, reasons, the order.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "bake/bakery.h"
#include "bake/copy.h"
#include "bake/ignore.h"
#include "bake/layer_key.h"
#include "bake/lock_file.h"
#include "bake/record.h"
#include "bake/secrets.h"
#include "bake/template.h"
#include "base/testing/errors.h"

namespace kiln::bake {
namespace {

using ::testing::ElementsAre;
using testing::failure;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

Ignore ignoring(const std::string& lines) {
  Ignore ignore;
  ignore.add_lines(lines);
  return ignore;
}

TEST(Ignore, ReadsPatternsAsGitDoes) {
  const auto ignored = [](const char* lines, const char* path, bool folder = false) {
    return ignoring(lines).ignores(path, folder);
  };
  EXPECT_TRUE(ignored("*.o", "a.o"));
  EXPECT_TRUE(ignored("*.o", "deep/in/a.o")) << "without a slash: anywhere";
  EXPECT_FALSE(ignored("/*.o", "deep/a.o"));
  EXPECT_TRUE(ignored("/*.o", "a.o"));
  EXPECT_TRUE(ignored("doc/*.txt", "doc/a.txt"));
  EXPECT_FALSE(ignored("doc/*.txt", "other/doc/a.txt")) << "with a slash inside: from the top";
  EXPECT_FALSE(ignored("doc/*.txt", "doc/x/a.txt")) << "'*' stops at a '/'";
  EXPECT_TRUE(ignored("doc/**/a.txt", "doc/x/y/a.txt"));
  EXPECT_TRUE(ignored("doc/**/a.txt", "doc/a.txt"));
  EXPECT_TRUE(ignored("**/node_modules", "x/node_modules", true));
  EXPECT_TRUE(ignored("build/", "build", true));
  EXPECT_FALSE(ignored("build/", "build", false)) << "folders only";
  EXPECT_TRUE(ignored("[a-c]?", "bx"));
  EXPECT_FALSE(ignored("# a comment\n\n", "# a comment"));
  EXPECT_FALSE(ignored("*.log\n!keep.log", "keep.log"));
  EXPECT_TRUE(ignored("!keep.log\n*.log", "keep.log")) << "the last one counts";
  EXPECT_TRUE(ignored("a \r\n", "a"));
}

TEST(Ignore, ManyStarsTakeNoTimeToSpeakOf) {
  std::string path;
  for (int i = 0; i < 30; ++i) path += "a/";
  EXPECT_FALSE(ignoring("**/**/**/**/**/**/**/**/b").ignores(path + "c", false));
}

std::string rendered(const std::string& text, const spec::Variables& variables) {
  return render_template({.file_name = "app.conf", .text = text}, variables);
}

std::string refused(const std::string& text) {
  try {
    return "accepted: " + rendered(text, {{"port", "80"}});
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    return error.message();
  }
}

TEST(Template, PutsValuesInAndLeavesTheRestAsItIs) {
  EXPECT_EQ(rendered("a {{ name }} b {{name}}{{  port}}\n", {{"name", "web"}, {"port", "80"}}), "a web b web80\n");
  EXPECT_EQ(rendered("{{ name }}", {{"name", "of the step"}, {"name", "of the image"}}), "of the step");
  EXPECT_EQ(rendered("{{ name }}", {{"name", "{{ other }}"}}), "{{ other }}") << "a value is no template";
  EXPECT_EQ(rendered("{{ \"{{\" }} x {{ \"}}\" }}", {}), "{{ x }}");
  EXPECT_EQ(rendered("if (a) { b }", {}), "if (a) { b }");
  EXPECT_EQ(rendered("", {}), "");
}

TEST(Template, WhatItDoesNotKnowIsQuotedWithItsLine) {
  EXPECT_THAT(refused("one\n  {{ prot }}\n"),
              HasSubstr("app.conf:2:3: there is no variable 'prot'; did you mean 'port'?\n    {{ prot }}\n"));
  EXPECT_THAT(refused("{{ upper port }}"), HasSubstr("app.conf:1:1: '{{ upper port }}' is not a variable's name"));
  EXPECT_THAT(refused("a {{ port\n}}"), HasSubstr("app.conf:1:3: '{{' without '}}' in the same line"));
  EXPECT_THAT(refused("{{ port"), HasSubstr("without '}}'"));
  EXPECT_THAT(refused("{{ \"a"), HasSubstr("without '}}'"));
  EXPECT_THAT(refused("{{}}"), HasSubstr("is not a variable's name"));
}

class Parts : public ::testing::Test {
 protected:
  Parts() { fs::create_directories(app_folder()); }
  fs::path app_folder() const { return folder_.path() / "app"; }
  void write(const std::string& name, std::string_view content) {
    fs::create_directories((app_folder() / name).parent_path());
    host::write_file(app_folder() / name, content);
  }
  const spec::App& app(const std::string& steps, const std::string& lines = "") {
    app_ = spec::parse_app("app: web\nimage:\n  from: debian:bookworm\n" + lines + "  steps:\n" + steps);
    return app_;
  }
  Options options() const {
    Options made;
    made.cache = folder_.path() / "cache";
    made.logs = folder_.path() / "logs";
    return made;
  }

  host::TemporaryFolder folder_{"kiln-parts-test-"};
  spec::App app_;
  host::SystemClock clock_;
};

TEST_F(Parts, ASecretThatIsNotThereOrTooShortIsNamedWithoutItsValue) {
  const spec::App& recipe =
      app("    - run: a\n", "  secrets: [{name: env, env: KILN_TEST_SECRET}, {name: file, file: key}]\n");
  ::unsetenv("KILN_TEST_SECRET");
  const auto read = [&](const char* name) { return read_secrets(recipe, app_folder(), {name}); };
  EXPECT_THAT(failure([&] { read("env"); }).message(), HasSubstr("kiln.yaml:4:13: the secret 'env' is not there"));
  EXPECT_THAT(failure([&] { read("file"); }).message(), HasSubstr("the secret 'file' cannot be read"));
  ::setenv("KILN_TEST_SECRET", "abc", 1);
  const Error error = failure([&] { read("env"); });
  EXPECT_THAT(error.message(), HasSubstr("fewer than 4 characters"));
  EXPECT_THAT(error.message(), ::testing::Not(HasSubstr("abc")));
  ::setenv("KILN_TEST_SECRET", "value", 1);
  write("key", "of the file\n");
  EXPECT_EQ(read("env").at("env"), "value");
  EXPECT_EQ(read("file").at("file"), "of the file") << "without its line's end";
  ::unsetenv("KILN_TEST_SECRET");
}

TEST_F(Parts, ASecretThatAStepLeftIsFoundAlsoAcrossPieces) {
  write("clean", "nothing here");
  EXPECT_EQ(file_with_a_secret(app_folder(), {{"a", "s3cret"}}), "");
  write("deep/file", std::string((1U << 20U) - 3, 'x') + "s3cret");
  EXPECT_EQ(file_with_a_secret(app_folder(), {{"a", "s3cret"}}), "deep/file");
}

TEST_F(Parts, ASecretsValueIsInNoKeyAndItsNameIs) {
  const auto recipe_of = [&](const char* secrets) {
    return plan_layers(app(std::string("    - run: {commands: a, secrets: ") + secrets + "}\n",
                           "  secrets: [{name: x, env: KILN_TEST_SECRET}, {name: y, file: k}]\n"),
                       app_folder())
        .at(1)
        .recipe;
  };
  ::setenv("KILN_TEST_SECRET", "one value", 1);
  const Digest one = recipe_of("[x]");
  ::setenv("KILN_TEST_SECRET", "another value", 1);
  EXPECT_EQ(recipe_of("[x]"), one);
  EXPECT_NE(recipe_of("[y]"), one);
  ::unsetenv("KILN_TEST_SECRET");
}

TEST_F(Parts, WhatIsIgnoredIsNoInput) {
  for (const char* name : {"site/a", "site/b.bak", "site/tmp/x", "site/keep/b.bak", "site/c.o"}) write(name, name);
  write(".kilnignore", "*.bak\n!site/keep/b.bak\n/site/tmp/\n");
  const auto layers = plan_layers(app("    - copy: {from: site/, to: /srv, ignore: ['*.o']}\n"), app_folder());
  std::vector<std::string> names;
  for (const InputEntry& entry : layers[1].inputs) names.push_back(entry.name);
  EXPECT_THAT(names, ElementsAre("", "a", "keep", "keep/b.bak"));
}

TEST_F(Parts, ATemplatesKeyIsWhatItBecomes) {
  write("a.conf", "port {{ port }}");
  const auto plan = [&](const char* variables) {
    return plan_layers(app(std::string("    - template: {from: a.conf, to: /etc/, variables: ") + variables + "}\n"),
                       app_folder());
  };
  const auto layers = plan("{port: 80}");
  EXPECT_EQ(*layers[1].inputs[0].text, "port 80");
  EXPECT_EQ(plan("{port: 80, unused: x}")[1].recipe, layers[1].recipe);
  EXPECT_NE(plan("{port: 81}")[1].recipe, layers[1].recipe);
  EXPECT_THAT(failure([&] { plan("{prt: 80}"); }).message(), HasSubstr("a.conf:1:6: there is no variable 'port'"));
  write("folder/x", "x");
  EXPECT_THAT(failure([&] { plan_layers(app("    - template: {from: folder, to: /etc/}\n"), app_folder()); }).message(),
              HasSubstr("the template 'folder' is not a file"));
}

TEST_F(Parts, AnOwnerByNameIsTheImagesOwn) {
  const spec::App& recipe = app("    - copy: {from: a, to: /a, owner: web}\n");
  spec::CopyStep copy = std::get<spec::CopyStep>(recipe.image.steps[0].action);
  const std::string passwd = "root:x:0:0::/:/bin/sh\nweb:x:33:34::/:/bin/sh\n", group = "root:x:0:\nadm:x:4:\n";
  resolve_owner(recipe, recipe.image.steps[0], passwd, group, copy);
  EXPECT_EQ(copy.uid, 33U);
  EXPECT_EQ(copy.gid, 34U);
  copy.group = "adm";
  resolve_owner(recipe, recipe.image.steps[0], passwd, group, copy);
  EXPECT_EQ(copy.gid, 4U);
  copy.user = "wev";
  EXPECT_THAT(failure([&] { resolve_owner(recipe, recipe.image.steps[0], passwd, group, copy); }).message(),
              HasSubstr("the image has no user 'wev'; did you mean 'web'?"));
}

TEST_F(Parts, AfterSaysWhatAStepStandsOn) {
  const auto layers = plan_layers(app("    - {run: a, name: a}\n    - {run: b, name: b, after: []}\n"
                                      "    - {run: c, name: c, after: [b]}\n    - {run: d, after: [c]}\n"
                                      "    - run: e\n"),
                                  app_folder());
  EXPECT_THAT(layers[1].below, ElementsAre(0U));
  EXPECT_THAT(layers[2].below, ElementsAre(0U));
  EXPECT_THAT(layers[2].beside, ElementsAre(1U));
  EXPECT_THAT(layers[3].below, ElementsAre(0U, 2U));
  EXPECT_THAT(layers[4].below, ElementsAre(0U, 2U, 3U)) << "and with it what that needs";
  EXPECT_THAT(layers[4].beside, ElementsAre(1U));
  EXPECT_THAT(layers[5].below, ElementsAre(0U, 1U, 2U, 3U, 4U)) << "without 'after': all above it";
  EXPECT_TRUE(layers[5].beside.empty());
}

TEST_F(Parts, TwoStepsOfPackagesThatDoNotWaitAreRefusedBeforeTheyRun) {
  const std::string steps = "    - {packages: [htop], name: a}\n    - {packages: [tree], after: []}\n";
  EXPECT_THAT(failure([&] { plan_layers(app(steps), app_folder()); }).message(),
              HasSubstr("kiln.yaml:6:8: 'packages htop' and 'packages tree' do not wait for each other"));
}

TEST_F(Parts, ARepositoryWithoutItsKeyIsQuoted) {
  const spec::App& recipe =
      app("    - packages: [htop]\n",
          "  repositories: [{name: t, url: 'http://a/b', suite: x, components: [main], key: k}]\n");
  EXPECT_THAT(failure([&] { plan_layers(recipe, app_folder()); }).message(),
              HasSubstr("kiln.yaml:4:18: the repository 't' has no key"));
  for (const char* none : {"", "one", "-----BEGIN PGP PRIVATE KEY BLOCK-----\n", "<html>"}) {
    write("k", none);
    EXPECT_THAT(failure([&] { plan_layers(recipe, app_folder()); }).message(),
                HasSubstr("k is no OpenPGP key that is public"));
  }
}

TEST_F(Parts, ALayersKeyHoldsItsRepositoriesTheirKeysAndTheMirrors) {
  const auto recipes = [this](const std::string& lines) {
    std::vector<Digest> made;
    for (const PlannedLayer& layer : plan_layers(app("    - packages: [htop]\n", lines), app_folder()))
      made.push_back(layer.recipe);
    return made;
  };
  const std::string tools = "  repositories: [{name: t, url: 'http://a/b', suite: x, components: [main], key: k}]\n";
  write("k", "-----BEGIN PGP PUBLIC KEY BLOCK-----\none");
  const std::vector<Digest> plain = recipes(""), with = recipes(tools);
  EXPECT_EQ(with[0], plain[0]) << "the base takes nothing from it";
  EXPECT_NE(with[1], plain[1]);
  EXPECT_NE(recipes("  repositories: [{name: t, url: 'http://c/b', suite: x, components: [main], key: k}]\n")[1],
            with[1]);
  write("k", "\x98\x33two");
  EXPECT_NE(recipes(tools)[1], with[1]);
  EXPECT_NE(recipes("  mirror: http://a/debian\n")[0], plain[0]);
  EXPECT_NE(recipes("  mirror: http://a/debian\n")[0], recipes("  mirror: http://b/debian\n")[0]);
  EXPECT_NE(recipes("  security_mirror: http://a/debian\n")[0], plain[0]);
}

TEST_F(Parts, TheLockFileReadsBackAndIsRefusedWhenItIsNotOne) {
  const LockFile lock{.base = "debian:bookworm",
                      .base_versions = {{"libc6", "2.36-9"}},
                      .steps = {{{"nginx", "curl=7"}, {{"nginx", "1.22"}, {"libc6", "2.37"}}}}};
  write_lock_file(app_folder(), lock);
  const auto read = read_lock_file(app_folder());
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->text(), lock.text());
  EXPECT_EQ(read->all(), (Versions{{"libc6", "2.37"}, {"nginx", "1.22"}}));
  EXPECT_NE(read->find({"nginx", "curl=7"}), nullptr);
  EXPECT_EQ(read->find({"nginx"}), nullptr);
  for (const char* text : {"", "{", "[]", "{\"lock\": 2}", "{\"lock\": 1, \"base\": 3}",
                           "{\"lock\": 1, \"base\": {\"from\": \"x\", \"versions\": {\"a\": 1}}, \"steps\": []}"}) {
    write(kLockFile, text);
    const Error error = failure([&] { read_lock_file(app_folder()); });
    EXPECT_EQ(error.code(), ErrorCode::usage) << text;
    EXPECT_THAT(error.next(), HasSubstr("kiln bake --update"));
  }
}

TEST_F(Parts, ALockFileChangesTheKeysOfWhatItNamesAndAnotherBaseIsRefused) {
  const spec::App& recipe = app("    - packages: [nginx]\n    - run: a\n");
  LockFile lock{.base = "debian:bookworm", .base_versions = {{"a", "1"}}, .steps = {{{"nginx"}, {{"nginx", "1"}}}}};
  const auto keys = [&](const LockFile* with) {
    std::vector<Digest> all;
    for (const PlannedLayer& layer : plan_layers(recipe, app_folder(), {}, with)) all.push_back(layer_key(layer, {}));
    return all;
  };
  const auto without = keys(nullptr), before = keys(&lock);
  EXPECT_NE(without[0], before[0]);
  EXPECT_NE(without[1], before[1]);
  EXPECT_EQ(without[2], before[2]) << "a command depends on what is below it";
  lock.steps[0].versions["nginx"] = "2";
  EXPECT_EQ(keys(&lock)[0], before[0]);
  EXPECT_NE(keys(&lock)[1], before[1]);
  lock.base = "debian:trixie";
  write_lock_file(app_folder(), lock);
  EXPECT_THAT(failure([&] { lock_to_begin_with(recipe, app_folder(), options()); }).message(),
              HasSubstr("kiln.lock is of 'debian:trixie', and kiln.yaml begins with 'debian:bookworm'"));
}

TEST_F(Parts, InstalledPackagesAreReadFromDpkgsStatus) {
  write("var/lib/dpkg/status",
        "Package: a\nStatus: install ok installed\nVersion: 1\nDescription: x\n Version: 9\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nVersion: 2\n\nPackage: b\nStatus: install ok installed\n"
        "Version: 3\n");
  const Versions versions = installed_in(app_folder());
  EXPECT_EQ(versions, (Versions{{"a", "1"}, {"b", "3"}}));
  EXPECT_EQ(brought({{"a", "1"}, {"b", "2"}}, versions), (Versions{{"b", "3"}}));
  EXPECT_TRUE(installed_in(app_folder() / "none").empty());
}

TEST_F(Parts, ReasonsNameTheInputThatChanged) {
  const auto layer = [](const char* text, std::map<std::string, std::string> inputs, Versions locked = {}) {
    return RecordedLayer{.text = text,
                         .recipe = sha256(text),
                         .content = sha256("content"),
                         .below = {sha256("base")},
                         .inputs = std::move(inputs),
                         .locked = std::move(locked)};
  };
  const std::vector<RecordedLayer> record = {
      {.text = "base", .recipe = {}, .content = sha256("base"), .below = {}, .inputs = {}, .locked = {}},
      layer("copy site/", {{"site/a", "1"}, {"site/b", "1"}}),
      layer("packages x", {}, {{"x", "1"}})};
  EXPECT_THAT(reasons(layer("copy site/", {{"site/a", "2"}, {"site/c", "1"}}), record, 1),
              ElementsAre("site/a changed", "site/c is new", "site/b is gone"));
  EXPECT_THAT(reasons(layer("packages x", {}, {{"x", "2"}}), record, 2), ElementsAre("version of x: 1, now 2"));
  EXPECT_THAT(reasons(layer("packages x y", {}), record, 2), ElementsAre("the step changed; it was 'packages x'"));
  EXPECT_THAT(reasons(layer("run b", {}), record, 5), ElementsAre("the step is new"));
  RecordedLayer other = layer("copy site/", {{"site/a", "1"}, {"site/b", "1"}});
  EXPECT_TRUE(reasons(other, record, 1).empty());
  other.below = {sha256("new base")};
  EXPECT_THAT(reasons(other, record, 1), ElementsAre("'base' below it is another, or gone"));
  other.recipe = sha256("other");
  EXPECT_THAT(reasons(other, record, 1), ElementsAre("its settings changed"));

  write_record(app_folder(), "web", record);
  const auto read = read_record(app_folder(), "web");
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->size(), 3U);
  EXPECT_EQ(read->at(1).inputs, record[1].inputs);
  write("bakes/web.json", "[{]");
  EXPECT_FALSE(read_record(app_folder(), "web").has_value()) << "a broken record is none";
}

TEST_F(Parts, ABaseThatNobodyHasAndAnotherFilesImageAreRefused) {
  store::Store store(folder_.path() / "store");
  app_ = spec::parse_app("app: web\nimage:\n  from: {image: base@1.0.0}\n  version: 1.0.0\n  steps: [{run: a}]\n");
  EXPECT_THAT(failure([&] { bake(app_, app_folder(), store, clock_, options()); }).message(),
              HasSubstr("the base 'image base@1.0.0' is not served"));
  app_ = spec::parse_app("app: web\nimage:\n  packer: a.json\n  version: 1.0.0\n");
  EXPECT_EQ(failure([&] { bake(app_, app_folder(), store, clock_, options()); }).code(), ErrorCode::unsupported);
}

TEST_F(Parts, ACommandOnThisMachineThatFailsEndsTheBakeBeforeAnythingIsRead) {
  store::Store store(folder_.path() / "store");
  const spec::App& recipe =
      app("    - host: [echo made > made, 'echo no luck; exit 3']\n"
          "    - copy: {from: not-there, to: /a}\n",
          "  version: 1.0.0\n");
  const Error error = failure([&] { bake(recipe, app_folder(), store, clock_, options()); });
  EXPECT_THAT(error.message(),
              HasSubstr("kiln.yaml:6:7: the step 'host echo made > made && echo no luck; exit 3' failed on "
                        "this machine with status 3"));
  EXPECT_THAT(error.message(), HasSubstr("no luck"));
  EXPECT_EQ(host::read_file(app_folder() / "made"), "made\n") << "it runs in the app's folder";
}

}  // namespace
}  // namespace kiln::bake
