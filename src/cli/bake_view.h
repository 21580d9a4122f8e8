// BakeView: what a person sees while `kiln bake` works, on stderr.
//
// On a terminal: a line for every step that is done, failed or cut off, and below them one for each that runs, with its
// time and the last line that it printed. Elsewhere: one line when a step has ended. With `verbose` every line that a
// step prints, after the step's number, because steps run side by side.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include "bake/bake.h"
#include "console/screen.h"

namespace kiln::cli {

class BakeView {
 public:
  BakeView(bool quiet, bool verbose);
  ~BakeView();
  BakeView(const BakeView&) = delete;
  BakeView& operator=(const BakeView&) = delete;

  void on(const bake::Progress& progress);
  // Takes what runs from the screen; to be called before anything else is printed. Further progress may follow.
  void clear();

 private:
  struct Running {
    bake::Progress what;
    std::string partial{};  // of the line that the step is printing
    std::string line{};     // the last whole one
    std::chrono::steady_clock::time_point begun;
  };

  void take_output(std::size_t index, Running& step, const std::string& output);
  void end_step(const bake::Progress& progress);
  void draw();
  void tick();

  bool quiet_;
  bool verbose_;
  bool live_;
  std::mutex mutex_;
  console::Screen screen_{stderr};
  std::map<std::size_t, Running> running_;
  bool ending_ = false;
  std::condition_variable end_;
  std::thread ticker_;
};

}  // namespace kiln::cli
