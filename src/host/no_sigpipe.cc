// NoSigpipe: the signal is blocked, and taken away if it has come.
#include "host/no_sigpipe.h"

#include <pthread.h>

#include <cerrno>
#include <ctime>

namespace kiln::host {

NoSigpipe::NoSigpipe() {
  sigemptyset(&pipe_);
  sigaddset(&pipe_, SIGPIPE);
  sigset_t pending;
  sigpending(&pending);
  pending_before_ = sigismember(&pending, SIGPIPE) == 1;
  pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
}

NoSigpipe::~NoSigpipe() {
  const timespec now{};
  while (!pending_before_ && sigtimedwait(&pipe_, nullptr, &now) < 0 && errno == EINTR) continue;
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

}  // namespace kiln::host
