// BakeView: drawn again when something happens, and every fifth of a second for the times.
#include "cli/bake_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <regex>

#include "base/text.h"
#include "base/time.h"
#include "cli/context.h"

namespace kiln::cli {
namespace {

constexpr auto kTick = std::chrono::milliseconds(200);
constexpr std::size_t kLineMax = 400;
constexpr std::size_t kNameMin = 12;  // columns of a step's name, however narrow the terminal is

// Nothing that a step prints may move our cursor or change our colours.
std::string printable(std::string_view line) {
  static const std::regex kEscape("\x1b(\\[[0-9;?]*[ -/]*[@-~]|\\][^\x07\x1b]*(\x07|\x1b\\\\)|.)");
  std::string text = std::regex_replace(std::string(line.substr(0, kLineMax)), kEscape, "");
  std::ranges::replace_if(
      text, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return std::string(trim(text));
}

// "  2/5 run make -C /srv  1.2 s  cc main.c" in at most `width` columns. The name gives way first, down to half of
// them, so that its time and how far it is can be read on a narrow terminal too.
std::string line_of(const bake::Progress& step, const std::string& rest, std::size_t width) {
  const std::string number = fmt::format("  {}/{} ", step.index + 1, step.count);
  const std::size_t taken = number.size() + 2 + std::min(console::columns(rest), width / 2);
  std::string line = number + console::cut(printable(step.step), std::max(width, taken + kNameMin) - taken);
  if (!rest.empty()) line += "  " + rest;
  return console::cut(line, width);
}

}  // namespace

BakeView::BakeView(bool quiet, bool verbose)
    : quiet_(quiet), verbose_(verbose), live_(!quiet && !verbose && console::is_terminal(stderr)) {
  if (live_) ticker_ = std::thread([this] { tick(); });
}

BakeView::~BakeView() {
  if (!ticker_.joinable()) return;
  clear();
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  end_.notify_all();
  ticker_.join();
}

void BakeView::on(const bake::Progress& progress) {
  if (quiet_) return;
  using Kind = bake::Progress::Kind;
  const std::lock_guard lock(mutex_);
  if (progress.kind == Kind::started) {
    running_[progress.index] = {.what = progress, .begun = std::chrono::steady_clock::now()};
    if (verbose_) talk(line_of(progress, {}, SIZE_MAX));
  } else if (progress.kind == Kind::output) {
    take_output(progress.index, running_[progress.index], progress.output);
  } else {
    end_step(progress);
  }
  if (live_ && progress.kind != Kind::output) draw();
}

// A failure is said when it happens, not when the steps beside it have ended too.
void BakeView::end_step(const bake::Progress& progress) {
  using Kind = bake::Progress::Kind;
  running_.erase(progress.index);
  std::string how = progress.reused ? "reused" : format_seconds(progress.duration);
  if (progress.kind == Kind::interrupted) how = "interrupted after " + how;
  if (progress.kind == Kind::failed) {
    how = "failed after " + how;
    if (!running_.empty()) how += fmt::format("; {} beside it to be finished", running_.size());
  }
  const std::size_t width = live_ ? console::style_of(stderr).width : SIZE_MAX;
  const std::string line = line_of(progress, how, width);
  if (!live_) {
    talk(line);
    return;
  }
  screen_.draw({line});
  screen_.keep();
}

void BakeView::clear() {
  const std::lock_guard lock(mutex_);
  running_.clear();
  if (live_) draw();
}

void BakeView::take_output(std::size_t index, Running& step, const std::string& output) {
  step.partial += output;
  for (std::size_t end; (end = step.partial.find_first_of("\r\n")) != std::string::npos;) {
    std::string line = step.partial.substr(0, end);
    step.partial.erase(0, end + 1);
    if (trim(line).empty()) continue;
    step.line = printable(line);
    if (verbose_) talk(fmt::format("  {:>2}| {}", index + 1, line));
  }
}

void BakeView::draw() {
  const std::size_t width = console::style_of(stderr).width;
  std::vector<std::string> lines;
  for (const auto& [index, step] : running_) {
    const auto time = std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now() - step.begun);
    std::string rest = format_seconds(time);
    if (!step.line.empty()) rest += "  " + step.line;
    lines.push_back(line_of(step.what, rest, width));
  }
  screen_.draw(lines);
}

void BakeView::tick() {
  std::unique_lock lock(mutex_);
  while (!ending_) {
    end_.wait_for(lock, kTick);
    if (!ending_ && !running_.empty()) draw();
  }
}

}  // namespace kiln::cli
