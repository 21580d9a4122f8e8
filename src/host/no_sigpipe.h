// NoSigpipe: while it lives, a reader that is gone is an error (EPIPE) of this thread's writes and no SIGPIPE, which
// would end a program that has not ignored it. For what must write by write(2): pipes, and libraries; a socket of our
// own has MSG_NOSIGNAL.
#pragma once

#include <csignal>

namespace kiln::host {

class NoSigpipe {
 public:
  NoSigpipe();
  NoSigpipe(const NoSigpipe&) = delete;
  NoSigpipe& operator=(const NoSigpipe&) = delete;
  ~NoSigpipe();

 private:
  sigset_t pipe_;
  sigset_t before_;
  bool pending_before_ = false;
};

}  // namespace kiln::host
