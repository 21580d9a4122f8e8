// The commands' words and pages, without a region.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/embedded.h"
#include "cli/load.h"
#include "cli/parser.h"
#include "cli/region_process.h"
#include "console/picture.h"
#include "host/file.h"
#include "http/server.h"
#include "spec/app.h"

namespace kiln::cli {

using ::testing::HasSubstr;

TEST(Help, HasAPageForEachCommandThatShowsHowItIsUsed) {
  for (const CommandGroup& group : command_groups()) {
    for (const Command& command : group.commands) {
      EXPECT_THAT(std::string(help_page(command.name)), HasSubstr("usage: kiln " + std::string(command.name)));
    }
  }
  EXPECT_EQ(help_page("nonsense"), "");
}

TEST(Help, FitsATerminalOfEightyColumns) {
  std::string all = help_overview();
  for (const EmbeddedFile& page : help_pages()) all += "\n" + std::string(page.text);
  for (const std::string& line : split(all, '\n')) EXPECT_LE(console::columns(line), 80u) << line;
}

TEST(Parse, NamesTheOptionThatWasMeant) {
  Parser parser;
  std::string image;
  parser.option("--image", image);
  try {
    parser.parse("deploy", {"--imgae", "x"});
    FAIL() << "it must throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    EXPECT_THAT(error.message(), HasSubstr("--imgae"));
    EXPECT_THAT(error.next(), HasSubstr("--image"));
  }
}

TEST(StateBytes, AreWhatTheDiskHasLostAndNotTheSizesOfSparseFiles) {
  const host::TemporaryFolder folder("kiln-state-");
  host::write_file(folder.path() / "volume", std::string(8192, 'x'));
  std::filesystem::resize_file(folder.path() / "volume", 1U << 30);
  EXPECT_GE(state_bytes(folder.path()), 8192u);
  EXPECT_LT(state_bytes(folder.path()), 1U << 20);
}

TEST(Talk, ThatCannotBeWrittenStopsNothing) {
  const host::FileDescriptor before(::dup(STDERR_FILENO));
  const host::FileDescriptor full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  ::dup2(full.get(), STDERR_FILENO);
  EXPECT_NO_THROW(talk("a deployment goes on"));
  ::dup2(before.get(), STDERR_FILENO);
}

TEST(ExitCodes, TellTheTruth) {
  EXPECT_EQ(exit_code_of(Error(ErrorCode::usage, "x")), 2);
  EXPECT_EQ(exit_code_of(Error(ErrorCode::held, "x")), 5);
  EXPECT_EQ(exit_code_of(Error(ErrorCode::io, "x")), 1);
  EXPECT_EQ(exit_code_of(Error(ErrorCode::cancelled, "x")), 130);
}

TEST(ExampleApp, IsAFileThatKilnReads) {
  std::string text;
  for (const EmbeddedFile& file : example_app()) {
    if (file.name == "kiln.yaml") text = file.text;
  }
  spec::App app = spec::parse_app(text);
  EXPECT_EQ(app.name, "web");
  EXPECT_EQ(app.fleet->size, 4);
}

TEST(Load, CountsEveryAnswerAndEveryFailure) {
  std::atomic<int> asked{0};
  http::Server server({}, http::answering([&](const http::Request&) {
                        http::Response response;
                        int number = ++asked;
                        response.status = number % 10 == 0 ? 500 : 200;
                        response.body = number % 10 == 5 ? "something else" : "web 1.2.3\n";
                        return response;
                      }));
  server.start();
  host::SystemClock clock;
  LoadOptions options;
  options.url = server.origin() + "/";
  options.rate = 1000;
  options.connections = 2;
  options.contains = "web";
  Load load(options, clock);
  load.start();
  while (asked < 100) clock.sleep(Duration(1));
  LoadReport report = load.stop();
  EXPECT_EQ(report.sent, static_cast<std::uint64_t>(asked.load()));
  EXPECT_EQ(report.failed, static_cast<std::uint64_t>(asked / 10 + (asked + 5) / 10));
  EXPECT_EQ(report.by_version.at("1.2.3"), report.sent - report.failed);
  EXPECT_THAT(report.failures.front(), ::testing::AnyOf(HasSubstr("something else"), HasSubstr("answered 500")));
}

TEST(Load, ThatReachesNobodyFails) {
  host::SystemClock clock;
  LoadOptions options;
  options.url = "http://127.0.0.1:1/";
  options.connections = 1;
  Load load(options, clock);
  load.start();
  while (load.report().sent < 3) clock.sleep(Duration(1));
  LoadReport report = load.stop();
  EXPECT_EQ(report.failed, report.sent);
  options.url = "not an URL";
  EXPECT_THROW(Load(options, clock), Error);
}

}  // namespace kiln::cli
