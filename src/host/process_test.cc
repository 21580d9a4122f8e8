// Processes: results, time-outs, daemons and identity.
#include "host/process.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>

#include "base/error.h"
#include "host/file.h"

namespace kiln::host {

TEST(Run, GivesStatusOutputAndInput) {
  Command command;
  command.argv = {"sh", "-c", "cat; echo err >&2; exit 3"};
  command.input = std::string(200'000, 'x');
  CommandResult result = run(command);
  EXPECT_EQ(result.status, 3);
  EXPECT_EQ(result.out.size(), 200'000u);
  EXPECT_EQ(result.err, "err\n");
}

TEST(Run, AProgramNeedNotReadItsInput) {
  Command command;
  command.argv = {"true"};
  command.input = std::string(1 << 20, 'x');  // more than a pipe holds
  EXPECT_EQ(run(command).status, 0);
}

TEST(Run, NamesTheMissingProgramAndItsPackage) {
  auto missing = [](const char* program) {
    try {
      run_checked({program, "x"});
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::missing_program);
      return error.next();
    }
    return std::string();
  };
  EXPECT_NE(missing("kiln-no-such-program").find("apt-get install kiln-no-such-program"), std::string::npos);
  EXPECT_EQ(package_of("nft"), "nftables");
}

TEST(Run, EndsWhatTakesTooLong) {
  Command command;
  command.argv = {"sh", "-c", "sleep 60 & wait"};
  command.timeout = Duration(50);
  CommandResult result = run(command);
  EXPECT_TRUE(result.timed_out);
  EXPECT_FALSE(result.ok());
}

TEST(Run, EndsWhatIsCancelled) {
  const TemporaryFolder folder("kiln-cancel-");
  Command command;
  command.argv = {"sh", "-c", "touch begun; sleep 60 & wait"};
  command.cwd = folder.path();
  command.cancelled = [&] { return std::filesystem::exists(folder.path() / "begun"); };
  try {
    run(command);
    FAIL() << "it must throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::cancelled);
  }
}

TEST(RunChecked, QuotesTheLastLinesOfWhatFailed) {
  try {
    run_checked({"sh", "-c", "echo first; echo the reason >&2; exit 9"});
    FAIL() << "it must throw";
  } catch (const Error& error) {
    EXPECT_NE(error.message().find("status 9"), std::string::npos);
    EXPECT_NE(error.message().find("the reason"), std::string::npos);
  }
}

TEST(Run, LetsItsCallerSeeOutputAsItComes) {
  std::string seen;
  Command command;
  command.argv = {"sh", "-c", "echo a; echo b >&2"};
  command.on_output = [&](std::string_view bytes) { seen += bytes; };
  EXPECT_TRUE(run(command).ok());
  EXPECT_EQ(seen.size(), 4u);
}

TEST(RunAttached, GivesTheStatusAndNamesWhatIsMissing) {
  Command command;
  command.argv = {"sh", "-c", "exit 7"};
  EXPECT_EQ(run_attached(command), 7);
  command.argv = {"kiln-no-such-program"};
  EXPECT_THROW(run_attached(command), Error);
}

TEST(Daemon, IsFoundAgainByPidAndStartTimeAndEnded) {
  TemporaryFolder folder("kiln-test-");
  Daemon daemon;
  daemon.argv = {"sleep", "60"};
  daemon.output = (folder.path() / "log").string();
  ProcessRef process = spawn_daemon(daemon);
  EXPECT_TRUE(alive(process));
  EXPECT_EQ(ProcessRef::parse(process.str()), process);
  ProcessRef reused = process;
  reused.start_ticks += 1;
  EXPECT_FALSE(alive(reused));
  EXPECT_FALSE(send_signal(reused, SIGKILL));
  end_process(process, Duration(2000));
  EXPECT_FALSE(alive(process));
}

TEST(Daemon, ThatCannotStartIsReported) {
  Daemon daemon;
  daemon.argv = {"sleep", "60"};
  daemon.cwd = "/nonexistent";
  EXPECT_THROW(spawn_daemon(daemon), Error);
}

TEST(ProcessRef, RefusesNonsense) {
  for (const char* bad : {"", "1", "@", "0@1", "x@1", "-1@5"}) EXPECT_EQ(ProcessRef::parse(bad), std::nullopt) << bad;
}

}  // namespace kiln::host
