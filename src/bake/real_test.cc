// Real bakes: mmdebstrap, apt and systemd-nspawn on this machine, as root, with Debian's mirror. The base is made
// twice.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "bake/bake.h"
#include "bake/base_images.h"
#include "bake/sandbox.h"
#include "base/testing/errors.h"
#include "base/text.h"
#include "host/process.h"

namespace kiln::bake {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

constexpr const char* kRecipe = R"(app: web
image:
  from: debian:bookworm
  version: 1.0.0
  steps:
    - packages: [nginx]
    - copy: {from: site/, to: /var/www/html/}
    - enable: nginx
)";

// The mounts and loop devices that concern `home`; others on this machine come and go as they like.
std::string mounts_and_loops(const fs::path& home) {
  std::string all = host::read_file("/proc/self/mounts");
  for (const std::string& name : host::list_folder("/sys/block")) {
    std::ifstream file(fs::path("/sys/block") / name / "loop" / "backing_file");
    std::string line;
    if (std::getline(file, line)) all += line + "\n";
  }
  std::string ours;
  for (const std::string& line : split(all, '\n')) {
    if (line.find(home.string()) != std::string::npos) ours += line + "\n";
  }
  return ours;
}

// What is left of a bake that has ended. The kernel takes the mounts of a thread that is gone down, and gives loop
// devices back, a moment after: up to 5 s on a busy machine.
std::string left_of_bake(const fs::path& home, host::Clock& clock) {
  for (int i = 0; i < 500 && !mounts_and_loops(home).empty(); ++i) clock.sleep(Duration(10));
  return mounts_and_loops(home);
}

// One home for all tests of this program, so that the base is made no more often than a test asks for.
class RealBake : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (::geteuid() != 0) return;
    // Not below /tmp, which may be a tmpfs without room for a base.
    home_ = std::make_unique<host::TemporaryFolder>("kiln-bake-real-", fs::exists("/var/tmp") ? "/var/tmp" : "");
  }
  static void TearDownTestSuite() { home_.reset(); }

  void SetUp() override {
    // A test that is passed over shows nothing.
    if (::geteuid() != 0) FAIL() << "needs root: real layers are mounted and steps run in containers";
    app_folder_ = home_->path() / "app";
    fs::remove_all(app_folder_);
    write("site/index.html", "web 1.0.0\n");
    write("site/healthz", "ok\n");
  }

  void write(const std::string& name, std::string_view content) {
    fs::create_directories((app_folder_ / name).parent_path());
    host::write_file(app_folder_ / name, content);
  }

  BakeResult run(const std::string& recipe = kRecipe, const std::string& home = "home") {
    store::Store store(home_->path() / home / "store");
    const spec::App app = spec::parse_app(recipe);
    return bake(app, app_folder_, store, clock_, options(home));
  }

  Error failure(const std::string& recipe) {
    return testing::failure([&] { run(recipe); });
  }

  Options options(const std::string& home) const {
    Options made;
    made.cache = home_->path() / home / "cache";
    made.logs = home_->path() / home / "logs";
    made.kiln_version = "test";
    return made;
  }

  static std::vector<bool> reused(const BakeResult& result) {
    std::vector<bool> flags;
    for (const LayerReport& layer : result.layers) flags.push_back(layer.reused);
    return flags;
  }

  static std::unique_ptr<host::TemporaryFolder> home_;
  fs::path app_folder_;
  host::SystemClock clock_;
};

std::unique_ptr<host::TemporaryFolder> RealBake::home_;

std::string with_step(const std::string& step) { return std::string(kRecipe) + "    - " + step + "\n"; }

TEST_F(RealBake, TheSameRecipeGivesTheSameDigestInAnotherFolderWithoutACache) {
  const BakeResult first = run();
  const BakeResult second = run(kRecipe, "other-home");
  for (std::size_t i = 0; i < first.layers.size(); ++i) {
    EXPECT_EQ(first.layers[i].blob.digest, second.layers[i].blob.digest) << first.layers[i].step;
    EXPECT_FALSE(second.layers[i].reused);
  }
  EXPECT_EQ(first.image.digest, second.image.digest);
  EXPECT_EQ(first.tags.at("kiln:recipe"), second.tags.at("kiln:recipe"));
  store::Store store(home_->path() / "home" / "store");
  store.verify(first.image);
}

TEST_F(RealBake, NothingChangedTakesEveryLayerFromTheCacheAtOnce) {
  const BakeResult first = run();
  const BakeResult second = run();
  EXPECT_EQ(first.image.digest, second.image.digest);
  EXPECT_THAT(reused(second), ::testing::Each(true));
  EXPECT_LT(second.duration, Duration(200));
}

TEST_F(RealBake, OneChangedFileMakesOneLayerAndAnotherImage) {
  const BakeResult before = run();
  write("site/index.html", "web 1.1.0\n");
  const BakeResult after = run();
  EXPECT_NE(before.image.digest, after.image.digest);
  EXPECT_THAT(reused(after), ::testing::ElementsAre(true, true, false, true));
  EXPECT_LT(after.duration, Duration(2000));
}

TEST_F(RealBake, AFailingStepIsQuotedWithItsStatusItsLastLinesAndTheWayIn) {
  run();
  const Error error = failure(with_step("run: echo before; nosuchprogram"));
  EXPECT_EQ(error.code(), ErrorCode::io);
  EXPECT_THAT(error.message(),
              HasSubstr("kiln.yaml:9:7: the step 'run echo before; nosuchprogram' failed with status 127"));
  EXPECT_THAT(error.message(), HasSubstr("nosuchprogram: not found"));
  EXPECT_THAT(error.next(), HasSubstr("kiln bake --shell"));
  EXPECT_THAT(error.next(), HasSubstr((home_->path() / "home" / "logs").string()));
  EXPECT_EQ(left_of_bake(home_->path(), clock_), "");
  EXPECT_TRUE(host::list_folder(home_->path() / "home" / "store" / "tmp").empty());
}

TEST_F(RealBake, AnUnknownPackageIsNamedWithItsNeighbour) {
  const Error error = failure(with_step("packages: [nginx-ligth]"));
  EXPECT_EQ(error.code(), ErrorCode::usage);
  EXPECT_THAT(error.message(), HasSubstr("no package 'nginx-ligth'; did you mean 'nginx-light'?"));
}

TEST_F(RealBake, AnUnknownUnitIsNamedWithItsNeighbour) {
  const Error error = failure(with_step("enable: ngimx"));
  EXPECT_THAT(error.message(), HasSubstr("no unit 'ngimx.service'; did you mean 'nginx.service'?"));
}

TEST_F(RealBake, ACopyThroughALinkOfTheImageLandsBehindTheLink) {
  write("tool", "#!/bin/sh\necho tool\n");
  // /bin is a link to usr/bin: the program must be found, and the link must still be there.
  run(with_step("copy: {from: tool, to: /bin/tool, mode: 0755}") +
      "    - run: ['test -L /bin', 'test \"$(tool)\" = tool', 'test -x /usr/bin/tool']\n");
}

TEST_F(RealBake, AFileThatAStepRemovedIsGoneInTheNextStep) {
  run(with_step("run: rm -r /etc/nginx") +
      "    - run: test ! -e /etc/nginx && mkdir /etc/nginx && test -z \"$(ls /etc/nginx)\"\n");
}

TEST_F(RealBake, AFullDiskIsNamedAndLeavesNothingBehind) {
  const fs::path small = home_->path() / "small";
  fs::create_directories(small);
  with_private_mounts([&] {
    ASSERT_EQ(::mount("small", small.c_str(), "tmpfs", 0, "size=32m"), 0);
    const Error error = testing::failure([&] { run(kRecipe, "small"); });
    EXPECT_EQ(error.code(), ErrorCode::disk_full) << error.what();
    EXPECT_TRUE(host::list_folder(small / "store" / "tmp").empty());
    EXPECT_TRUE(host::list_folder(small / "cache" / "layers").empty());
  });
}

TEST_F(RealBake, AMirrorThatDoesNotAnswerIsUnavailable) {
  store::Store store(home_->path() / "no-mirror" / "store");
  Options without = options("no-mirror");
  without.mirror = without.security_mirror = "http://127.0.0.1:1/debian";
  const spec::App app = spec::parse_app(kRecipe);
  const Error error = testing::failure([&] { bake(app, app_folder_, store, clock_, without); });
  EXPECT_EQ(error.code(), ErrorCode::unavailable) << error.what();
}

TEST_F(RealBake, TwoBakesAtOnceShareTheCache) {
  run();
  const std::string recipe = with_step("run: echo together > /together");
  BakeResult other;
  std::thread thread([&] { other = run(recipe); });
  const BakeResult ours = run(recipe);
  thread.join();
  EXPECT_EQ(ours.image.digest, other.image.digest);
  EXPECT_NE(ours.layers.back().reused, other.layers.back().reused) << "one made it, the other waited and took it";
}

TEST_F(RealBake, KilledInTheMiddleLeavesNoMountAndNoProcessAndTheNextBakeCleansUp) {
  run();
  const std::string recipe = with_step("run: echo sleeping; exec sleep 987");
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    store::Store store(home_->path() / "home" / "store");
    const spec::App app = spec::parse_app(recipe);
    Options child_options = options("home");
    child_options.on_progress = [&](const Progress& progress) {
      if (progress.output.find("sleeping") != std::string::npos && ::write(ready[1], "x", 1) != 1) ::_exit(3);
    };
    bake(app, app_folder_, store, clock_, child_options);
    ::_exit(2);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  ::kill(child, SIGKILL);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  ::close(ready[0]);
  ::close(ready[1]);

  const auto running = [] {
    for (const std::string& name : host::list_folder("/proc")) {
      std::ifstream file("/proc/" + name + "/cmdline");
      std::string line;
      if (std::getline(file, line, '\0') && line == "sleep" && std::getline(file, line, '\0') && line == "987")
        return true;
    }
    return false;
  };
  for (int i = 0; i < 500 && running(); ++i) clock_.sleep(Duration(10));
  EXPECT_FALSE(running());
  EXPECT_EQ(left_of_bake(home_->path(), clock_), "");
  run();
  EXPECT_TRUE(host::list_folder(home_->path() / "home" / "store" / "tmp").empty());
}

// The output of all steps of a bake, by its log.
std::string said_by(const BakeResult& result) {
  std::string all;
  for (const std::string& name : host::list_folder(result.log)) all += host::read_file(result.log / name);
  return all;
}

std::string with_image_keys(const std::string& keys, const std::string& steps) {
  std::string recipe = kRecipe;
  recipe.insert(recipe.find("  steps:"), keys);
  return recipe + steps;
}

TEST_F(RealBake, StepsThatDoNotNeedEachOtherRunAtTheSameTimeAndTheirOutputIsApart) {
  std::vector<std::size_t> begun, ended;
  Options together = options("home");
  together.at_once = 2;
  together.on_progress = [&](const Progress& progress) {
    if (progress.index < 4) return;
    if (progress.kind == Progress::Kind::started) begun.push_back(progress.index);
    if (progress.kind == Progress::Kind::finished) ended.push_back(begun.size());
  };
  store::Store store(home_->path() / "home" / "store");
  const spec::App app = spec::parse_app(std::string(kRecipe) +
                                        "    - {run: 'sleep 1; echo first > /first', after: []}\n"
                                        "    - {run: 'sleep 1; echo second > /second', after: []}\n"
                                        "    - run: 'test -e /first && test -e /second'\n");
  const BakeResult result = bake(app, app_folder_, store, clock_, together);
  ASSERT_EQ(ended.size(), 3U);
  EXPECT_EQ(ended[0], 2U) << "both had begun when the first ended";
  EXPECT_EQ(result.layers.size(), 7U);
}

TEST_F(RealBake, StepsApartThatWriteTheSamePathAreRefusedByName) {
  const Error error = failure(std::string(kRecipe) + "    - {run: 'echo 1 > /etc/same', name: one}\n" +
                              "    - {run: 'mkdir /etc/other; echo 2 > /etc/same', after: []}\n");
  EXPECT_EQ(error.code(), ErrorCode::usage);
  EXPECT_THAT(error.message(), HasSubstr("do not wait for each other, and both write /etc/same"));
  EXPECT_EQ(left_of_bake(home_->path(), clock_), "");
}

TEST_F(RealBake, ASecretIsReadByItsStepAndIsNowhereElse) {
  ::setenv("KILN_TEST_TOKEN", "s3cr3t-of-the-test", 1);
  const std::string secrets = "  secrets: [{name: token, env: KILN_TEST_TOKEN}]\n";
  const BakeResult result =
      run(with_image_keys(secrets,
                          "    - run: {commands: 'test \"$(cat /run/kiln/secrets/token)\" = \"$WANT\"; echo it is "
                          "$WANT', secrets: [token], "
                          "environment: {WANT: s3cr3t-of-the-test}}\n    - run: test ! -e /run/kiln/secrets\n"));
  EXPECT_THAT(said_by(result), HasSubstr("it is ***"));
  EXPECT_THAT(said_by(result), ::testing::Not(HasSubstr("s3cr3t")));
  const Error left = failure(
      with_image_keys(secrets, "    - run: {commands: cp /run/kiln/secrets/token /root/token, secrets: [token]}\n"));
  EXPECT_EQ(left.code(), ErrorCode::usage);
  EXPECT_THAT(left.message(), HasSubstr("the step left a secret in /root/token"));
  const Error failed = failure(
      with_image_keys(secrets, "    - run: {commands: 'cat /run/kiln/secrets/token; exit 7', secrets: [token]}\n"));
  EXPECT_THAT(failed.message(), HasSubstr("***"));
  EXPECT_THAT(failed.message(), ::testing::Not(HasSubstr("s3cr3t")));
  ::unsetenv("KILN_TEST_TOKEN");
}

TEST_F(RealBake, OwnersTemplatesUsersAndShellsDoWhatTheySay) {
  write("app.conf", "port {{ port }}\n");
  run(with_image_keys(
      "  variables: {port: '8080'}\n  kernel_arguments: [quiet, 'console=ttyS0']\n",
      "    - user: {name: deploy, uid: 1500, groups: [adm], shell: /bin/bash, home: /home/deploy}\n"
      "    - template: {from: app.conf, to: /etc/, owner: 'deploy:www-data', mode: 0640}\n"
      "    - disable: nginx\n"
      "    - run: {commands: ['[[ $(stat -c %U:%G:%a /etc/app.conf) == deploy:www-data:640 ]]', '[[ $(< /etc/app.conf) "
      "== "
      "\"port 8080\" ]]', '[[ $(id -u deploy) == 1500 ]]', '[[ $A == \"b c\" ]]', '! systemctl is-enabled nginx'], "
      "shell: /bin/bash, environment: {A: b c}}\n"));
  EXPECT_THAT(failure(with_step("copy: {from: site/, to: /srv, owner: www-dat}")).message(),
              HasSubstr("the image has no user 'www-dat'; did you mean 'www-data'?"));
}

TEST_F(RealBake, TwoStepsThatChangeNothingAreAnImageThatCanBeMounted) {
  run(with_step("run: 'true'") + "    - run: ':'\n    - run: test -e /usr/sbin/nginx\n");
}

TEST_F(RealBake, AVersionThatIsNotThereIsAnsweredWithThoseThatAre) {
  const Error error = failure(with_step("packages: [nginx-light=1.0]"));
  EXPECT_EQ(error.code(), ErrorCode::usage);
  EXPECT_THAT(error.message(), HasSubstr("version 1.0 of 'nginx-light' is not to be had"));
  EXPECT_THAT(error.next(), HasSubstr("there is 1."));
}

TEST_F(RealBake, PackagesThatExcludeEachOtherAreNamed) {
  const Error error = failure(with_step("packages: [exim4-daemon-light, postfix]"));
  EXPECT_EQ(error.code(), ErrorCode::usage);
  EXPECT_THAT(error.message(), HasSubstr("these packages cannot be installed together"));
  EXPECT_THAT(error.message(), HasSubstr("Conflicts"));
}

TEST_F(RealBake, ARepositoryThatDoesNotAnswerEndsTheStep) {
  write("key.asc", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n");
  const Error error = failure(with_image_keys(
      "  repositories: [{name: t, url: 'http://127.0.0.1:1/t', suite: x, components: [main], key: key.asc}]\n",
      "    - packages: [tree]\n"));
  EXPECT_EQ(error.code(), ErrorCode::unavailable);
  EXPECT_THAT(error.message(), HasSubstr("127.0.0.1"));
}

TEST_F(RealBake, ALockFileHoldsVersionsUntilItIsRenewedAndSaysWhatIsGone) {
  run();
  Options renew = options("home");
  renew.update = true;
  store::Store store(home_->path() / "home" / "store");
  const spec::App app = spec::parse_app(kRecipe);
  const BakeResult renewed = bake(app, app_folder_, store, clock_, renew);
  const std::string lock = host::read_file(app_folder_ / "kiln.lock");
  EXPECT_THAT(lock, HasSubstr("\"nginx\": \"1."));
  EXPECT_THAT(lock, HasSubstr("\"libc6\": \""));
  const BakeResult again = run();
  EXPECT_EQ(again.image.digest, renewed.image.digest);
  EXPECT_THAT(reused(again), ::testing::Each(true));

  // Another step is added to it, and everything that was in it stays.
  const BakeResult more = run(with_step("packages: [tree]"));
  const std::string longer = host::read_file(app_folder_ / "kiln.lock");
  EXPECT_THAT(longer, HasSubstr("\"tree\": \""));
  EXPECT_THAT(reused(more), ::testing::ElementsAre(true, true, true, true, false));
  EXPECT_THAT(reused(run(with_step("packages: [tree]"))), ::testing::Each(true));

  const std::size_t at = longer.find("\"tree\": \"") + 9;
  write("kiln.lock", longer.substr(0, at) + "9." + longer.substr(at));
  const Error error = failure(with_step("packages: [tree]"));
  EXPECT_EQ(error.code(), ErrorCode::unavailable);
  EXPECT_THAT(error.message(), HasSubstr("tree 9."));
  EXPECT_THAT(error.next(), HasSubstr("kiln bake --update"));
}

// What was baked before as the base of another: nothing of Debian is made again.
class OfAnImage : public BaseImages {
 public:
  explicit OfAnImage(store::Image image) : image_(std::move(image)) {}
  std::vector<store::Blob> layers_of(const spec::App& app, const std::string& /*app_folder*/) override {
    EXPECT_EQ(app.image.base, spec::Base{spec::ImageBase{"web@1.0.0"}});
    return image_.layers;
  }

 private:
  store::Image image_;
};

TEST_F(RealBake, ACheckNamesTheFileThatTwoBakesMakeDifferently) {
  store::Store store(home_->path() / "home" / "store");
  OfAnImage base(run().image);
  Options on_it = options("home");
  on_it.base_images = &base;
  const spec::App app = spec::parse_app(
      "app: shop\nimage:\n  from: {image: web@1.0.0}\n  version: 1.0.0\n  steps:\n"
      "    - run: cat /proc/sys/kernel/random/uuid > /etc/id; test -x /usr/sbin/nginx && echo same > /etc/same\n");
  const CheckResult result = check(app, app_folder_, store, clock_, on_it);
  EXPECT_EQ(result.baked.image.layers.size(), base.layers_of(app, "").size() + 1);
  ASSERT_EQ(result.differences.size(), 1U);
  EXPECT_EQ(result.differences[0].path, "/etc/id");
  EXPECT_EQ(result.differences[0].what, "content");
  EXPECT_EQ(left_of_bake(home_->path(), clock_), "");
  for (const std::string& name : host::list_folder(home_->path() / "home" / "cache"))
    EXPECT_FALSE(name.starts_with("check-")) << name;
}

}  // namespace
}  // namespace kiln::bake
