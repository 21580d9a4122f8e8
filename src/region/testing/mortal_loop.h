// MortalLoop: a loop of its own for one life of a control plane that dies in a test; what it asked for dies with it.
#pragma once

#include <memory>
#include <utility>

#include "host/loop.h"

namespace kiln::region::testing {

class MortalLoop final : public host::Loop {
 public:
  // `world` goes on and must outlive this.
  explicit MortalLoop(host::Loop& world) : world_(world) {}
  ~MortalLoop() override { *alive_ = false; }

  host::Clock& clock() override { return world_.clock(); }
  void post(std::function<void()> task) override { world_.post(guarded(std::move(task))); }
  host::TimerId after(Duration delay, std::function<void()> task) override {
    return world_.after(delay, guarded(std::move(task)));
  }
  void cancel(host::TimerId timer) override { world_.cancel(timer); }
  void offload(std::function<void()> work, std::function<void(std::exception_ptr)> done) override {
    world_.offload(std::move(work), [alive = alive_, done = std::move(done)](std::exception_ptr failure) {
      if (*alive) done(failure);
    });
  }
  bool on_loop() const override { return world_.on_loop(); }
  void set_turn_end(std::function<void()> hook) override {
    world_.set_turn_end(hook ? guarded(std::move(hook)) : std::function<void()>());
  }

 private:
  std::function<void()> guarded(std::function<void()> task) {
    return [alive = alive_, task = std::move(task)] {
      if (*alive) task();
    };
  }

  host::Loop& world_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace kiln::region::testing
