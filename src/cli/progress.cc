// Progress: pictures or lines.
#include "cli/progress.h"

namespace kiln::cli {

Progress::Progress(Context& context, bool quiet, std::string load_file)
    : context_(context),
      quiet_(quiet),
      terminal_(console::is_terminal(stderr)),
      load_file_(std::move(load_file)),
      style_(console::style_of(stderr)),
      screen_(stderr) {}

void Progress::show(const deploy::Moment& moment) {
  if (quiet_) return;
  if (!terminal_) {
    for (const std::string& line : changes_.since_last(moment)) talk(line);
    return;
  }
  std::optional<console::Traffic> traffic;
  if (!load_file_.empty()) traffic = console::read_traffic(load_file_, context_.clock.now());
  screen_.draw(console::picture(moment, traffic, style_));
}

}  // namespace kiln::cli
