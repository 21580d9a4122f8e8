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
#include "bake/sandbox.h"
#include "base/text.h"
#include "host/process.h"

namespace kiln::bake {
namespace {

using testing::HasSubstr;
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

// One home for all tests of this program, so that the base is made no more often than a test asks for.
class RealBake : public testing::Test {
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
    try {
      run(recipe);
    } catch (const Error& error) {
      return error;
    }
    ADD_FAILURE() << "baked";
    return {ErrorCode::internal, ""};
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
  EXPECT_THAT(reused(second), testing::Each(true));
  EXPECT_LT(second.duration, Duration(200));
}

TEST_F(RealBake, OneChangedFileMakesOneLayerAndAnotherImage) {
  const BakeResult before = run();
  write("site/index.html", "web 1.1.0\n");
  const BakeResult after = run();
  EXPECT_NE(before.image.digest, after.image.digest);
  EXPECT_THAT(reused(after), testing::ElementsAre(true, true, false, true));
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
  EXPECT_EQ(mounts_and_loops(home_->path()), "");
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
    try {
      run(kRecipe, "small");
      ADD_FAILURE() << "a base in 32 MiB";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::disk_full) << error.what();
    }
    EXPECT_TRUE(host::list_folder(small / "store" / "tmp").empty());
    EXPECT_TRUE(host::list_folder(small / "cache" / "layers").empty());
  });
}

TEST_F(RealBake, AMirrorThatDoesNotAnswerIsUnavailable) {
  store::Store store(home_->path() / "no-mirror" / "store");
  Options without = options("no-mirror");
  without.mirror = without.security_mirror = "http://127.0.0.1:1/debian";
  const spec::App app = spec::parse_app(kRecipe);
  try {
    bake(app, app_folder_, store, clock_, without);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unavailable) << error.what();
  }
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
  for (int i = 0; i < 500 && (running() || !mounts_and_loops(home_->path()).empty()); ++i) clock_.sleep(Duration(10));
  EXPECT_FALSE(running());
  EXPECT_EQ(mounts_and_loops(home_->path()), "");
  run();
  EXPECT_TRUE(host::list_folder(home_->path() / "home" / "store" / "tmp").empty());
}

}  // namespace
}  // namespace kiln::bake
