// What is drawn stays within the terminal. A real pseudo-terminal would need a reader: see tests/e2e/recipe_story.py.
#include "console/screen.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <memory>

namespace kiln::console {
namespace {

std::vector<std::string> lines_of(std::size_t count) {
  std::vector<std::string> lines;
  for (std::size_t i = 1; i <= count; ++i) lines.push_back(fmt::format("line {}", i));
  return lines;
}

}  // namespace

TEST(Screen, TitleAndNextStepStayWhenAFleetHasMoreLinesThanTheTerminal) {
  EXPECT_EQ(fit(lines_of(5), 5), lines_of(5));
  EXPECT_EQ(fit(lines_of(40), 5),
            (std::vector<std::string>{"line 1", "line 2", "  … 36 more lines", "line 39", "line 40"}));
}

TEST(Screen, ATerminalOfOneRowStillShowsTheNextStep) {
  EXPECT_EQ(fit(lines_of(9), 0), (std::vector<std::string>{"line 1", "  … 7 more lines", "line 9"}));
}

TEST(Screen, LinesAreNotWrappedAndTheNextDrawingBeginsWhereTheLastOneBegan) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::tmpfile(), &std::fclose);
  Screen screen(file.get());
  screen.draw({"a", "b"});
  screen.draw({"c"});
  std::string written(200, '\0');
  std::rewind(file.get());
  written.resize(std::fread(written.data(), 1, written.size(), file.get()));
  EXPECT_EQ(written,
            "\x1b[?7l\r\x1b[2Ka\n\r\x1b[2Kb\n\x1b[?7h"
            "\x1b[?7l\x1b[2A\r\x1b[2Kc\n\r\x1b[2K\n\x1b[1A\x1b[?7h");
}

}  // namespace kiln::console
