// Loop control: see internal/loop_control.h. A filter of seccomp(2): async-signal-safe, for between fork and exec.
#include "machine/internal/loop_control.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/loop.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

namespace kiln::machine {
namespace {

// linux/loop.h: all of them are 0x4C00 to 0x4CFF.
constexpr std::uint32_t kFamily = LOOP_SET_FD & 0xFFFFFF00u;
// The number of ioctl(2).
constexpr std::uint32_t kIoctlX86_64 = 16;
constexpr std::uint32_t kIoctlX32 = 0x40000202;  // of programs with 32-bit pointers
constexpr std::uint32_t kIoctlArm64 = 29;
constexpr std::uint32_t kIoctl32 = 54;  // of 32-bit programs, on both

}  // namespace

bool forbid_loop_control() {
  // The kernel reads the lower half of the request; both of our architectures are little-endian.
  constexpr auto kRequest = static_cast<std::uint32_t>(offsetof(seccomp_data, args) + sizeof(std::uint64_t));
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 4, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_I386, 6, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_AARCH64, 7, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_ARM, 4, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),  // no other runs on them
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kIoctlX86_64, 6, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kIoctlX32, 5, 4),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kIoctl32, 3, 2),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kIoctlArm64, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      // It is ioctl(2).
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kRequest),
      BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xFFFFFF00u),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kFamily, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
  };
  const sock_fprog filter{sizeof program / sizeof program[0], program};
  return ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

}  // namespace kiln::machine
