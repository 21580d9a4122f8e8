// What of a bake needs no root: keys, inputs, copies, trees made alike, versions.
#include "bake/bake.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "bake/cache.h"
#include "bake/copy.h"
#include "bake/files.h"
#include "bake/git.h"
#include "bake/layer_key.h"
#include "bake/log.h"
#include "bake/normalise.h"
#include "bake/plan.h"
#include "bake/sandbox.h"
#include "base/testing/errors.h"
#include "host/process.h"

namespace kiln::bake {
namespace {

using ::testing::ElementsAre;
using testing::failure;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

class BakeTest : public ::testing::Test {
 protected:
  BakeTest() { fs::create_directories(app_folder()); }

  fs::path app_folder() const { return folder_.path() / "app"; }

  void write(const fs::path& path, std::string_view content, unsigned mode = 0644) {
    fs::create_directories(path.parent_path());
    host::write_file(path, content, mode);
    ::chmod(path.c_str(), mode);
  }

  const spec::App& app(const std::string& steps, const std::string& version = "1.0.0") {
    app_ = spec::parse_app("app: web\nimage:\n  from: debian:bookworm\n  version: " + version + "\n  steps:\n" + steps);
    return app_;
  }

  std::vector<PlannedLayer> plan(const std::string& steps) { return plan_layers(app(steps), app_folder()); }
  Digest recipe_of(const std::string& step) { return plan("    - " + step + "\n").at(1).recipe; }

  std::string refused(const std::string& step) {
    try {
      plan("    - " + step + "\n");
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage);
      return error.message();
    }
    return "accepted";
  }

  host::TemporaryFolder folder_{"kiln-bake-test-"};
  spec::App app_;
};

using Plan = BakeTest;
using Inputs = BakeTest;
using Copy = BakeTest;
using Trees = BakeTest;
using Versions = BakeTest;

constexpr const char* kSteps =
    "    - packages: [nginx]\n    - copy: {from: site/, to: /var/www/}\n    - enable: nginx\n    - run: 'true'\n";

TEST_F(Plan, ALayerStandsOnAllBelowButEnableNotOnACopyThatReachesNoUnits) {
  write(app_folder() / "site/index.html", "one");
  const auto layers = plan(kSteps);
  ASSERT_EQ(layers.size(), 5U);
  EXPECT_THAT(layers[0].below, ElementsAre());
  EXPECT_THAT(layers[2].below, ElementsAre(0U, 1U));
  EXPECT_THAT(layers[3].below, ElementsAre(0U, 1U)) << "enable";
  EXPECT_THAT(layers[4].below, ElementsAre(0U, 1U, 2U, 3U)) << "run";
}

TEST_F(Plan, EnableStandsOnACopyThatMayBringItsUnit) {
  write(app_folder() / "web.service", "[Service]");
  write(app_folder() / "root/etc/systemd/system/web.service", "[Service]");
  for (const char* copy :
       {"{from: web.service, to: /etc/systemd/system/}", "{from: web.service, to: /lib/systemd/system/x.service}",
        "{from: root/, to: /}", "{from: web.service, to: /etc/init.d/web}", "{from: web.service, to: /sbin}"}) {
    const auto layers = plan(std::string("    - copy: ") + copy + "\n    - enable: web\n");
    EXPECT_THAT(layers[2].below, ElementsAre(0U, 1U)) << copy;
  }
}

TEST_F(Plan, AKeyChangesWithTheStepItsFilesAndWhatIsBelowAndWithNothingElse) {
  write(app_folder() / "site/index.html", "one");
  const Digest before = recipe_of("copy: {from: site/, to: /var/www/}");
  write(app_folder() / "kiln.yaml", "not copied");
  fs::last_write_time(app_folder() / "site/index.html", fs::file_time_type{});
  ::chmod((app_folder() / "site/index.html").c_str(), 0600);
  EXPECT_EQ(recipe_of("copy: {to: /var/www/, from: site/}"), before);

  EXPECT_NE(recipe_of("copy: {from: site/, to: /var/w/}"), before);
  EXPECT_NE(recipe_of("copy: {from: site/, to: /var/www/, owner: 33:33}"), before);
  EXPECT_NE(recipe_of("copy: {from: site/, to: /var/www/, mode: 0600}"), before);
  ::chmod((app_folder() / "site/index.html").c_str(), 0700);
  EXPECT_NE(recipe_of("copy: {from: site/, to: /var/www/}"), before);
  write(app_folder() / "site/index.html", "two");
  EXPECT_NE(recipe_of("copy: {from: site/, to: /var/www/}"), before);
  EXPECT_NE(recipe_of("run: [a b]"), recipe_of("run: [a, b]"));
  EXPECT_NE(recipe_of("run: a"), recipe_of("packages: [aa]"));

  const auto layers = plan("    - run: a\n");
  EXPECT_EQ(layer_key(layers[1], {sha256("x")}), layer_key(layers[1], {sha256("x")}));
  EXPECT_NE(layer_key(layers[1], {sha256("x")}), layer_key(layers[1], {sha256("y")}));
  EXPECT_NE(layer_key(layers[1], {sha256("x")}), layer_key(layers[1], {}));
}

TEST_F(Inputs, AreSortedAndTargetsFollowTheSlashes) {
  write(app_folder() / "site/b/x", "x");
  write(app_folder() / "site/a", "a");
  const auto targets = [&](const std::string& copy) {
    const auto layers = plan("    - copy: " + copy + "\n");
    std::vector<std::string> paths;
    for (const InputEntry& entry : layers[1].inputs) {
      paths.push_back(target_of(std::get<spec::CopyStep>(layers[1].step->action), layers[1].inputs, entry));
    }
    return paths;
  };
  EXPECT_THAT(targets("{from: site/, to: /srv}"), ElementsAre("/srv", "/srv/a", "/srv/b", "/srv/b/x"));
  EXPECT_THAT(targets("{from: site/, to: /srv/}"), ElementsAre("/srv", "/srv/a", "/srv/b", "/srv/b/x"));
  EXPECT_THAT(targets("{from: site, to: /srv}"), ElementsAre("/srv", "/srv/a", "/srv/b", "/srv/b/x"));
  EXPECT_THAT(targets("{from: site, to: /srv/}"),
              ElementsAre("/srv/site", "/srv/site/a", "/srv/site/b", "/srv/site/b/x"));
  EXPECT_THAT(targets("{from: site/a, to: /srv/}"), ElementsAre("/srv/a"));
  EXPECT_THAT(targets("{from: site/a, to: /srv/c}"), ElementsAre("/srv/c"));
}

TEST_F(Inputs, WhatIsMissingOrLeavesTheFolderIsRefusedWithItsLine) {
  write(app_folder() / "site/a", "a");
  EXPECT_THAT(refused("copy: {from: sit/, to: /srv/}"), HasSubstr("kiln.yaml:6:7: 'sit/' does not exist in "));
  EXPECT_THAT(refused("copy: {from: site/a/, to: /srv/}"), HasSubstr("kiln.yaml:6:7"));
  fs::create_symlink("/etc", app_folder() / "etc");
  EXPECT_THAT(refused("copy: {from: etc/, to: /srv/}"), HasSubstr("outside of"));
  fs::create_symlink("a", app_folder() / "site/fine");
  EXPECT_EQ(refused("copy: {from: site/, to: /srv/}"), "accepted");
  fs::create_symlink("../../x", app_folder() / "site/out");
  EXPECT_THAT(refused("copy: {from: site/, to: /srv/}"), HasSubstr("points to '../../x', which is outside"));
  fs::remove(app_folder() / "site/out");
  fs::create_symlink("/etc/passwd", app_folder() / "site/abs");
  EXPECT_THAT(refused("copy: {from: site/, to: /srv/}"), HasSubstr("points to '/etc/passwd'"));
  fs::remove(app_folder() / "site/abs");
  ASSERT_EQ(::mkfifo((app_folder() / "site/pipe").c_str(), 0600), 0);
  EXPECT_THAT(refused("copy: {from: site/, to: /srv/}"), HasSubstr("neither file nor folder nor link"));
}

// An image in which /lib is a link to usr/lib, /var/log belongs to somebody's mode, and the rest of the root is plain.
std::optional<Existing> small_image(const std::string& path) {
  const auto folder = [](std::string real, unsigned mode) {
    return Existing{Existing::Kind::folder, std::move(real), mode, ::getuid(), ::getgid(), 1'500'000'000, 0};
  };
  if (path == "/" || path == "/usr" || path == "/usr/lib" || path == "/var") return folder(path, 0755);
  if (path == "/lib") return folder("/usr/lib", 0755);
  if (path == "/var/log") return folder(path, 01777);
  if (path == "/etc") return Existing{};
  return std::nullopt;
}

TEST_F(Copy, FollowsTheImagesLinksAndKeepsItsFolders) {
  write(app_folder() / "tool", "#!/bin/sh", 0755);
  const fs::path tree = folder_.path() / "tree";
  const auto stage = [&](const std::string& target) {
    fs::remove_all(tree);
    fs::create_directories(tree);
    const auto layers = plan("    - copy: {from: tool, to: " + target + "}\n");
    spec::CopyStep step = std::get<spec::CopyStep>(layers[1].step->action);
    step.uid = ::getuid();
    step.gid = ::getgid();
    stage_copy(app_, *layers[1].step, step, layers[1].inputs, small_image, tree);
  };
  const auto mode_of = [&](const char* name) {
    struct stat info {};
    EXPECT_EQ(::lstat((tree / name).c_str(), &info), 0) << name;
    return info.st_mode & 07777U;
  };
  stage("/lib/tool");
  EXPECT_EQ(host::read_file(tree / "usr/lib/tool"), "#!/bin/sh");
  EXPECT_FALSE(fs::exists(tree / "lib"));
  EXPECT_EQ(mode_of("usr/lib/tool"), 0755U);

  stage("/var/log/tool");
  EXPECT_EQ(mode_of("var/log"), 01777U);
  struct stat info {};
  ASSERT_EQ(::stat((tree / "var/log").c_str(), &info), 0);
  EXPECT_EQ(info.st_mtim.tv_sec, 1'500'000'000);

  EXPECT_THROW(stage("/etc/tool"), Error) << "a folder below a file";
  EXPECT_THROW(stage("/usr"), Error) << "a file in place of a folder";
}

TEST_F(Copy, TwoContentsOfOneSizeHaveTwoTimesAndTheSameContentOne) {
  const auto time_of = [&](std::string_view content) {
    const fs::path tree = folder_.path() / "tree";
    fs::remove_all(tree);
    fs::create_directories(tree);
    write(app_folder() / "index.html", content);
    const auto layers = plan("    - copy: {from: index.html, to: /var/log/}\n");
    spec::CopyStep step = std::get<spec::CopyStep>(layers[1].step->action);
    step.uid = ::getuid();
    step.gid = ::getgid();
    stage_copy(app_, *layers[1].step, step, layers[1].inputs, small_image, tree);
    return fs::last_write_time(tree / "var/log/index.html");
  };
  const auto first = time_of("web 1.0.0");
  EXPECT_NE(time_of("web 1.1.0"), first);
  EXPECT_EQ(time_of("web 1.0.0"), first);
}

TEST_F(Copy, AFileThatChangedSinceItWasHashedIsNoticed) {
  write(app_folder() / "a", "one");
  const auto layers = plan("    - copy: {from: a, to: /var/a}\n");
  write(app_folder() / "a", "two");
  const fs::path tree = folder_.path() / "tree";
  fs::create_directories(tree);
  spec::CopyStep step = std::get<spec::CopyStep>(layers[1].step->action);
  const Error error = failure([&] { stage_copy(app_, *layers[1].step, step, layers[1].inputs, small_image, tree); });
  EXPECT_EQ(error.code(), ErrorCode::conflict);
}

TEST_F(Copy, LooksIntoARootWithoutLeavingIt) {
  const fs::path root = folder_.path() / "root";
  fs::create_directories(root / "usr/lib");
  fs::create_symlink("/usr/lib", root / "lib");
  fs::create_symlink("../../../../../etc", root / "out");
  const Look look = look_into(root);
  EXPECT_EQ(look("/lib")->real_path, "/usr/lib");
  EXPECT_EQ(look("/")->real_path, "/");
  EXPECT_FALSE(look("/lib/x").has_value());
  EXPECT_FALSE(look("/out/passwd").has_value());
  write(root / "file", "x");
  EXPECT_EQ(look("/file")->kind, Existing::Kind::other);
}

TEST_F(Trees, LoseWhatAnotherBakeWouldHaveOtherwise) {
  const fs::path tree = folder_.path() / "tree";
  for (const char* gone : {"var/log/dpkg.log", "var/log/apt/history.log", "var/cache/apt/pkgcache.bin",
                           "var/lib/apt/lists/x", "etc/passwd-", "var/cache/ldconfig/aux-cache",
                           "var/lib/dpkg/status-old", "run/x", "tmp/x", "etc/resolv.conf"}) {
    write(tree / gone, "x");
  }
  for (const char* stays : {"var/lib/dpkg/status", "etc/passwd", "var/log/app/app.log", "etc/machine-id"})
    write(tree / stays, "x");
  set_time(tree / "etc/passwd", 1'400'000'000);
  normalise(tree, Time(std::chrono::seconds(1'700'000'000)));
  std::vector<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(tree)) {
    if (!entry.is_directory()) files.push_back(entry.path().lexically_relative(tree).string());
  }
  EXPECT_THAT(files, ::testing::UnorderedElementsAre("var/lib/dpkg/status", "etc/passwd", "var/log/app/app.log",
                                                     "etc/machine-id"));
  EXPECT_EQ(fs::file_size(tree / "etc/machine-id"), 0U);
  EXPECT_EQ(fs::file_size(tree / "var/log/app/app.log"), 0U);
  struct stat info {};
  ASSERT_EQ(::stat((tree / "etc/passwd").c_str(), &info), 0);
  EXPECT_EQ(info.st_mtim.tv_sec, 1'400'000'000) << "older than the bake: came with a package";
  ASSERT_EQ(::stat((tree / "var/lib/dpkg/status").c_str(), &info), 0);
  EXPECT_EQ(info.st_mtim.tv_sec, kLayerEpochSeconds);
}

TEST_F(Trees, MadeInAnotherOrderAtAnotherTimeAreTheSameBytes) {
  ASSERT_NE(host::find_program("mkfs.erofs"), "") << "needs erofs-utils: make setup";
  const auto make = [&](const std::string& name, const std::vector<std::string>& files) {
    const fs::path tree = folder_.path() / name;
    for (const std::string& file : files) write(tree / file, "content of " + file);
    fs::create_hard_link(tree / "d/a", tree / "hard");
    for (const auto& entry : fs::recursive_directory_iterator(tree)) set_time(entry.path(), kLayerEpochSeconds);
    set_time(tree, kLayerEpochSeconds);
    store::make_erofs(tree, folder_.path() / (name + ".erofs"));
    return host::read_file(folder_.path() / (name + ".erofs"));
  };
  const std::string first = make("one", {"c", "d/a", "d/b", "z"});
  const std::string second = make("two", {"z", "d/b", "c", "d/a"});
  EXPECT_EQ(sha256(first), sha256(second));
  EXPECT_EQ(first.substr(1024 + 24, 8), std::string("\x80\x00\x92\x65\x00\x00\x00\x00", 8)) << "the build time";
}

TEST_F(Trees, ACacheEntryThatIsBrokenOrWithoutItsBlobIsAMiss) {
  store::Store store(folder_.path() / "store");
  const Cache cache(folder_.path() / "cache", store);
  const Digest key = sha256("key");
  EXPECT_FALSE(cache.find(key).has_value());
  const Digest content = store.put("layer");
  const store::Blob blob{content, 5, std::string(store::kErofsLayerType)};
  cache.put(key, blob);
  EXPECT_EQ(cache.find(key), blob);
  fs::resize_file(store.path_of(content), 4);
  EXPECT_FALSE(cache.find(key).has_value()) << "cut off";
  fs::remove(store.path_of(content));
  EXPECT_FALSE(cache.find(key).has_value()) << "gone";
  for (const char* text :
       {"", "x", "sha256:12 5", "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824 -1"}) {
    host::write_file(folder_.path() / "cache/layers" / key.hex(), text);
    EXPECT_FALSE(cache.find(key).has_value()) << text;
  }
}

TEST_F(Trees, OldLogsGoWhenThereAreMany) {
  const fs::path logs = folder_.path() / "logs";
  fs::create_directories(logs);
  for (std::size_t i = 0; i < kLogsMax + 5; ++i) write(logs / fmt::format("20200101T{:06}Z-1-web.log", i), "old");
  BakeLog log(logs, "web", Time(std::chrono::seconds(1'800'000'000)));
  EXPECT_EQ(host::list_folder(logs).size(), kLogsMax + 5) << "a bake that runs nothing touches nothing";
  StepLog step = log.begin_step(3, "run a");
  step.write("some output");
  EXPECT_EQ(host::list_folder(logs).size(), kLogsMax);
  EXPECT_EQ(step.tail(), "some output");
  EXPECT_THAT(host::read_file(log.path() / "03-run.log"), HasSubstr("=== run a\nsome output"));
}

TEST_F(Trees, WithoutRootNothingIsMountedAndTheUserIsTold) {
  const pid_t child = ::fork();
  if (child == 0) {
    constexpr uid_t kNobody = 65534;
    if (::geteuid() == 0 && ::setresuid(kNobody, kNobody, kNobody) != 0) ::_exit(1);
    try {
      check_can_mount();
    } catch (const Error& error) {
      ::_exit(error.code() == ErrorCode::denied && error.next().find("sudo") != std::string::npos ? 0 : 2);
    }
    ::_exit(3);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(Trees, AKernelWithoutAFileSystemThatIsNeededIsNamedWithWhatToDo) {
  const host::Path list = folder_.path() / "filesystems";
  host::write_file(list, "nodev\tsysfs\n\text4\n\terofs\n");
  const Error error = failure([&] { check_kernel(list); });
  EXPECT_EQ(error.code(), ErrorCode::unsupported);
  EXPECT_THAT(error.message(), HasSubstr("'overlay'"));
  EXPECT_THAT(error.next(), HasSubstr("linux-image-amd64"));
  host::write_file(list, "nodev\toverlay\n");
  EXPECT_THROW(check_kernel(list), Error);
  host::write_file(list, "nodev\toverlay\n\terofs\n");
  EXPECT_NO_THROW(check_kernel(list));
}

TEST_F(Trees, AProgramThatIsMissingIsNamedBeforeAnythingRuns) {
  EXPECT_EQ(bound_to_us("sh").front(), "unshare");
  const Error error = failure([&] { bound_to_us("no-such-program"); });
  EXPECT_EQ(error.code(), ErrorCode::missing_program);
  EXPECT_THAT(error.message(), HasSubstr("no-such-program"));
  EXPECT_THAT(error.next(), HasSubstr("apt-get install"));
}

TEST_F(Versions, ALiteralAndATimestampNeedNoRepository) {
  const Time now = parse_iso8601("2026-11-24T03:01:56Z");
  EXPECT_EQ(resolve_version(app("    - run: a\n"), app_folder(), now), "1.0.0");
  EXPECT_EQ(resolve_version(app("    - run: a\n", "timestamp"), app_folder(), now), "20261124.030156");
}

TEST_F(Versions, GitGivesTheLastTagTheCommitsSinceAndWhetherThereAreChanges) {
  ASSERT_NE(host::find_program("git"), "") << "needs git: make setup";
  const auto git = [&](std::vector<std::string> arguments) {
    host::Command command;
    command.argv = {"git", "-C", app_folder().string(), "-c", "user.name=t", "-c", "user.email=t@example.com"};
    command.argv.insert(command.argv.end(), arguments.begin(), arguments.end());
    command.env = {{"GIT_CONFIG_GLOBAL", "/dev/null"}};
    host::run_checked(command);
  };
  const spec::App& recipe = app("    - run: a\n", "git");
  const auto version = [&] { return resolve_version(recipe, app_folder(), Time{}); };
  EXPECT_THROW(version(), Error);
  git({"init", "-q"});
  EXPECT_THROW(version(), Error) << "no commit yet";
  write(app_folder() / "a", "1");
  git({"add", "a"});
  git({"commit", "-q", "-m", "one"});
  const std::string commit = git_commit(app_folder());
  EXPECT_EQ(commit.size(), 40U);
  EXPECT_EQ(version(), "0.0.0-1-g" + commit.substr(0, 12));
  git({"tag", "v1.2.0"});
  EXPECT_EQ(version(), "1.2.0");
  write(app_folder() / "a", "2");
  EXPECT_EQ(version(), "1.2.0-dirty");
  git({"commit", "-q", "-a", "-m", "two"});
  EXPECT_EQ(version(), "1.2.0-1-g" + git_commit(app_folder()).substr(0, 12));
}

}  // namespace
}  // namespace kiln::bake
