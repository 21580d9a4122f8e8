// BakeView: drawn again when something happens, and every fifth of a second for the times.
#include "cli/bake_view.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "base/time.h"

namespace kiln::cli {
namespace {

constexpr auto kTick = std::chrono::milliseconds(200);
constexpr std::size_t kLineMax = 200;

// Nothing that a step prints may move our cursor.
std::string printable(std::string_view line) {
  std::string text(trim(line.substr(0, kLineMax)));
  std::ranges::replace_if(
      text, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return text;
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
  const std::string head = fmt::format("  {}/{} {}", progress.index + 1, progress.count, progress.step);
  if (progress.kind == Kind::started) {
    running_[progress.index] = {.head = head, .partial = {}, .line = {}, .begun = std::chrono::steady_clock::now()};
    if (verbose_) fmt::print(stderr, "{}\n", head);
  } else if (progress.kind == Kind::output) {
    take_output(progress.index, running_[progress.index], progress.output);
  } else {
    running_.erase(progress.index);
    const std::string line =
        fmt::format("{}  {}", head, progress.reused ? "reused" : format_seconds(progress.duration));
    if (live_) {
      screen_.draw({console::cut(line, console::style_of(stderr).width)});
      screen_.keep();
    } else {
      fmt::print(stderr, "{}\n", line);
    }
  }
  if (live_ && progress.kind != Kind::output) draw();
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
    if (verbose_) fmt::print(stderr, "  {:>2}| {}\n", index + 1, line);
  }
}

void BakeView::draw() {
  const std::size_t width = console::style_of(stderr).width;
  std::vector<std::string> lines;
  for (const auto& [index, step] : running_) {
    const auto time = std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now() - step.begun);
    std::string line = fmt::format("{}  {}", step.head, format_seconds(time));
    if (!step.line.empty()) line += "  " + step.line;
    lines.push_back(console::cut(line, width));
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
