// SPDX-License-Identifier: Apache-2.0
// What a confined process may not do: each attempt in a process of its own, which must end by it.
#include "phone-side/instance/confine.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "guest-kernel-mods/amphion_host/amphion_host.h"

namespace amphion::instance {
namespace {

// How a child that does `body` ends: the signal, or minus its exit code.
template <typename Body>
int end_of(Body body) {
  const pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    syscall(SYS_exit_group, body());  // sanitizers have their own _exit
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

template <typename Body>
int filtered(Body body) {
  return end_of([&] { return filter_system_calls() ? 99 : body(); });
}

TEST(Confine, AllowsWhatADeviceModelDoes) {
  EXPECT_EQ(filtered([] {
              char byte = 0;
              const long done = syscall(SYS_pread64, -1, &byte, 1, 0);
              // Without the C library, for sanitizers put their own between.
              const long page = syscall(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
              syscall(SYS_ioctl, -1, AMPHION_NEXT, &byte);
              return done == -1 && page != -1 ? 7 : 1;
            }),
            -7);
}

TEST(Confine, EndsWhoeverTriesMore) {
  EXPECT_EQ(filtered([] { return open("/etc/passwd", O_RDONLY); }), SIGSYS);
  EXPECT_EQ(filtered([] { return socket(AF_INET, SOCK_STREAM, 0); }), SIGSYS);
  EXPECT_EQ(filtered([] { return fork(); }), SIGSYS);
  EXPECT_EQ(filtered([] { return execl("/bin/sh", "sh", nullptr); }), SIGSYS);
  EXPECT_EQ(filtered([] { return kill(getppid(), SIGTERM); }), SIGSYS);
  EXPECT_EQ(filtered([] { return static_cast<int>(syscall(SYS_ioctl, -1, AMPHION_CREATE, nullptr)); }), SIGSYS);
  EXPECT_EQ(filtered([] { return static_cast<int>(syscall(SYS_ioctl, -1, AMPHION_ALLOW, nullptr)); }), SIGSYS);
  EXPECT_EQ(filtered([] {
              mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
              return 0;
            }),
            SIGSYS);
  EXPECT_EQ(filtered([] { return mprotect(nullptr, 4096, PROT_EXEC); }), SIGSYS);
}

TEST(Confine, HasAUserOfItsOwnAnEmptyRootAndNoNetwork) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  EXPECT_EQ(end_of([] {
              if (const auto problem = give_up_privileges(4096))
                return write(2, problem->data(), problem->size()) > 0 ? 1 : 2;
              if (getuid() == 0 || geteuid() != getuid() || getegid() != getuid() || setuid(0) == 0) return 3;
              if (open("/etc/passwd", O_RDONLY) >= 0 || open("/file", O_CREAT | O_RDWR, 0600) >= 0) return 4;
              if (socket(AF_INET, SOCK_RAW, 1) >= 0 || chroot("..") == 0) return 5;
              return 7;
            }),
            -7);
}

}  // namespace
}  // namespace amphion::instance
