// kill_at: preloaded into a program, ends it as kill -9 would, before the Nth call that changes something outside of it.
//
// KILL_AT=N, KILL_CALLS=files|send. Without KILL_AT nothing happens.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

static void count(const char* kind) {
  static long seen;
  const char* at = getenv("KILL_AT");
  const char* calls = getenv("KILL_CALLS");
  if (at == NULL || calls == NULL || strcmp(calls, kind) != 0) return;
  if (__atomic_add_fetch(&seen, 1, __ATOMIC_SEQ_CST) == atol(at)) kill(getpid(), SIGKILL);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fsync(int fd) {
  count("files");
  return REAL(fsync)(fd);
}
int fdatasync(int fd) {
  count("files");
  return REAL(fdatasync)(fd);
}
int rename(const char* from, const char* to) {
  count("files");
  return REAL(rename)(from, to);
}
int unlink(const char* path) {
  count("files");
  return REAL(unlink)(path);
}
int unlinkat(int folder, const char* path, int flags) {
  count("files");
  return REAL(unlinkat)(folder, path, flags);
}
int remove(const char* path) {
  count("files");
  return REAL(remove)(path);
}
ssize_t send(int fd, const void* bytes, size_t size, int flags) {
  count("send");
  return REAL(send)(fd, bytes, size, flags);
}
