// SPDX-License-Identifier: Apache-2.0
#include "phone-side/instance/confine.hpp"

#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <vector>

#include "guest-kernel-mods/amphion_host/amphion_host.h"

namespace amphion::instance {
namespace {

// A process has the user of its number above this: no two that live have the same.
constexpr uid_t first_user = 1u << 24;
constexpr rlim_t heap_bytes = 96u << 20;  // private memory; the guest's is not counted
constexpr rlim_t descriptors = 16, threads = 4;

#if defined(__arm__)
constexpr std::uint32_t architecture = AUDIT_ARCH_ARM;
#elif defined(__x86_64__)
constexpr std::uint32_t architecture = AUDIT_ARCH_X86_64;
#else
#error "confine.cpp does not know this architecture"
#endif

// What the threads do once they serve a guest. 32-bit C libraries use the calls with 64-bit times where there are any.
constexpr unsigned allowed_calls[] = {
    // the socket to phoned, the waker, disk, kernel, initial file system, TAP
    __NR_read,
    __NR_write,
    __NR_pread64,
    __NR_pwrite64,
    __NR_fdatasync,
    // waiting for the partition; taken up again after SIGSTOP
    __NR_poll,
    __NR_restart_syscall,
    // locks
    __NR_futex,
    // the heap; mmap and mprotect are below
    __NR_brk,
    __NR_munmap,
    __NR_mremap,
    __NR_madvise,
    // the beginning of the instance's thread, which may not be over when the filter comes
    __NR_set_robust_list,
    __NR_rseq,
    __NR_rt_sigprocmask,
    // a guest's first random seed
    __NR_getrandom,
    // deadlines, where the vDSO has no clock
    __NR_clock_gettime,
    // the end
    __NR_exit,
    __NR_exit_group,
#ifdef __NR_futex_time64
    __NR_futex_time64,
    __NR_clock_gettime64,
#endif
};

// Not: more vCPUs (AMPHION_ALLOW), the dirty log and its bitmaps, which are phoned's.
constexpr std::uint32_t allowed_ioctls[] = {
    AMPHION_RUN,         AMPHION_PAUSE,       AMPHION_NEXT,       AMPHION_IO_DONE,     AMPHION_IRQ,
    AMPHION_DISCARD,     AMPHION_VCPU_GET,    AMPHION_VCPU_SET,   AMPHION_GIC_GET,     AMPHION_GIC_SET,
    AMPHION_COUNTER_GET, AMPHION_COUNTER_SET, AMPHION_VIRTIO_IRQ, AMPHION_SERIAL_TAKE, AMPHION_SERIAL_GIVE,
    AMPHION_SERIAL_GET,  AMPHION_SERIAL_SET,
};

#ifdef __NR_mmap2
constexpr unsigned mapping_calls[] = {__NR_mmap2, __NR_mprotect};
#else
constexpr unsigned mapping_calls[] = {__NR_mmap, __NR_mprotect};
#endif

class Filter {
 public:
  Filter() {
    load(offsetof(seccomp_data, arch));
    add(BPF_JMP | BPF_JEQ | BPF_K, architecture, 1, 0);
    give(SECCOMP_RET_KILL_PROCESS);
    load(offsetof(seccomp_data, nr));
  }
  void allow(std::uint32_t call) { allow_if_equal(call); }
  void allow_ioctls() {  // the request is argument 1
    add(BPF_JMP | BPF_JEQ | BPF_K, __NR_ioctl, 0, static_cast<std::uint8_t>(2 + 2 * std::size(allowed_ioctls)));
    load(argument(1));
    for (const std::uint32_t request : allowed_ioctls) allow_if_equal(request);
    give(SECCOMP_RET_KILL_PROCESS);
  }
  void allow_mapping(std::uint32_t call) {  // the protection is argument 2
    add(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 4);
    load(argument(2));
    add(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 1, 0);
    give(SECCOMP_RET_ALLOW);
    give(SECCOMP_RET_KILL_PROCESS);
  }
  [[nodiscard]] bool install() {
    give(SECCOMP_RET_KILL_PROCESS);
    const sock_fprog program{static_cast<unsigned short>(code_.size()), code_.data()};
    return syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
  }

 private:
  void add(int code, std::uint32_t value, std::uint8_t yes = 0, std::uint8_t no = 0) {
    code_.push_back({static_cast<std::uint16_t>(code), yes, no, value});
  }
  void load(std::size_t offset) { add(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset)); }
  void give(std::uint32_t verdict) { add(BPF_RET | BPF_K, verdict); }
  void allow_if_equal(std::uint32_t value) {
    add(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
    give(SECCOMP_RET_ALLOW);
  }
  static std::size_t argument(std::size_t n) {  // its low half, on little-endian machines
    return offsetof(seccomp_data, args) + n * sizeof(std::uint64_t);
  }

  std::vector<sock_filter> code_;
};

Problem failed(const char* what) {
  return std::string("the device model cannot be confined: ") + what + ": " + std::strerror(errno);
}

bool limit(__rlimit_resource resource, rlim_t value) {
  const struct rlimit both { value, value };
  return setrlimit(resource, &both) == 0;
}

// An empty file system in a mount name space that ends with the process.
bool empty_root() {
  return mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         mount("empty", "/tmp", "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4k") == 0 &&
         chroot("/tmp") == 0 && chdir("/") == 0;
}

}  // namespace

Problem give_up_privileges(std::uint64_t disk_bytes) {
  const uid_t user = first_user + static_cast<uid_t>(getpid());
  if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC) != 0) return failed("name spaces");
  if (!empty_root()) return failed("an empty root");
  if (!limit(RLIMIT_NOFILE, descriptors) || !limit(RLIMIT_NPROC, threads) || !limit(RLIMIT_CORE, 0) ||
      !limit(RLIMIT_FSIZE, static_cast<rlim_t>(disk_bytes)) || !limit(RLIMIT_DATA, heap_bytes) ||
      !limit(RLIMIT_MEMLOCK, 0))
    return failed("limits");
  if (setgroups(0, nullptr) != 0 || setresgid(user, user, user) != 0 || setresuid(user, user, user) != 0)
    return failed("a user of its own");
  // After the change of user, which would undo it. A parent that is gone already is noticed at the socket's end.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || prctl(PR_SET_DUMPABLE, 0) != 0 ||
      prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    return failed("process controls");
  return {};
}

Problem filter_system_calls() {
  Filter filter;
  for (const unsigned call : allowed_calls) filter.allow(call);
  for (const unsigned call : mapping_calls) filter.allow_mapping(call);
  filter.allow_ioctls();
  if (!filter.install()) return failed("system calls");
  return {};
}

}  // namespace amphion::instance
