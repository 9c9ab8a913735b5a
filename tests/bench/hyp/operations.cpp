// SPDX-License-Identifier: Apache-2.0
// What programs do all day, without privileges: system calls, signals, memory, switches between processes, processes.
#include <fcntl.h>
#include <linux/futex.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <vector>

#include "tests/bench/hyp/measure.hpp"

namespace bench {
namespace {

constexpr std::size_t page = 4096, mib = 1u << 20;

void keep(const void* value) { __asm__ volatile("" ::"r"(value) : "memory"); }

void measure_computing() {
  measure("int_loop", [] {
    std::uint32_t x = 1;
    for (int i = 0; i < 1000; ++i) {
      x = x * 1664525u + 1013904223u;
      __asm__ volatile("" : "+r"(x));
    }
  });
  static std::array<std::uint8_t, mib> from{}, to{};
  measure("memcpy_1MiB", [] { std::memcpy(to.data(), from.data(), mib), keep(to.data()); });
  measure("memset_1MiB", [] { std::memset(to.data(), 1, mib), keep(to.data()); });
  measure("clock_gettime", [] { now_ns(); });
}

// One block of SHA-256 (FIPS 180-4) with constants of no meaning: the work is what counts.
void measure_digest() {
  static std::array<std::uint32_t, 64> w;
  const auto rotate = [](std::uint32_t x, int n) { return x >> n | x << (32 - n); };
  measure("sha256_block", [&] {
    std::array<std::uint32_t, 8> h{1, 2, 3, 4, 5, 6, 7, 8};
    for (std::size_t i = 0; i < 64; ++i)
      w[i] = i < 16 ? static_cast<std::uint32_t>(i)
                    : w[i - 16] + w[i - 7] + (rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3) +
                          (rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10);
    for (const std::uint32_t word : w) {
      const std::uint32_t a =
          h[7] + (rotate(h[4], 6) ^ rotate(h[4], 11) ^ rotate(h[4], 25)) + ((h[4] & h[5]) ^ (~h[4] & h[6])) + word;
      const std::uint32_t b =
          (rotate(h[0], 2) ^ rotate(h[0], 13) ^ rotate(h[0], 22)) + ((h[0] & h[1]) ^ (h[0] & h[2]) ^ (h[1] & h[2]));
      h = {a + b, h[0], h[1], h[2], h[3] + a, h[4], h[5], h[6]};
    }
    keep(h.data());
  });
}

void measure_calls() {
  const int zero = open("/dev/zero", O_RDONLY), null = open("/dev/null", O_WRONLY);
  require(zero >= 0 && null >= 0, "/dev/zero, /dev/null");
  static char byte;
  measure("null_getppid", [] { syscall(SYS_getppid); });
  measure("read_1B_zero", [=] { require(read(zero, &byte, 1) == 1, "read"); });
  measure("write_1B_null", [=] { require(write(null, &byte, 1) == 1, "write"); });
  measure("stat", [] {
    struct stat s;
    require(stat("/dev/null", &s) == 0, "stat");
  });
  measure("open_close", [] { close(open("/dev/null", O_RDONLY)); });
  measure("sched_yield", [] { sched_yield(); });
  int ends[2];
  require(pipe(ends) == 0, "pipe");
  measure("select_10", [&] {
    fd_set set;
    FD_ZERO(&set);
    for (int fd = 0; fd < 10; ++fd) FD_SET(fd < 3 ? fd : ends[0], &set);
    timeval none{};
    select(ends[1] + 1, &set, nullptr, nullptr, &none);
  });
  measure("pipe_self", [&] { require(write(ends[1], &byte, 1) == 1 && read(ends[0], &byte, 1) == 1, "pipe"); });
  for (const int fd : {zero, null, ends[0], ends[1]}) close(fd);
}

void measure_signals() {
  static char* guarded = static_cast<char*>(mmap(nullptr, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  signal(SIGUSR1, [](int) {});
  measure("signal_deliver", [] { raise(SIGUSR1); });
  struct sigaction action {};
  action.sa_handler = [](int) { mprotect(guarded, page, PROT_READ | PROT_WRITE); };
  sigaction(SIGSEGV, &action, nullptr);
  measure("segv_handle_2mprot", [] {
    mprotect(guarded, page, PROT_READ);
    *const_cast<volatile char*>(guarded) = 1;
  });
}

void measure_memory() {
  const auto map = [](std::size_t bytes) {
    return static_cast<char*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  };
  measure("mmap_munmap_64k", [=] { munmap(map(16 * page), 16 * page); });
  measure("page_fault_anon", [=] {
    char* const memory = map(64 * page);
    for (std::size_t i = 0; i < 64; ++i) const_cast<volatile char&>(memory[i * page]) = 1;
    munmap(memory, 64 * page);
  });
  static char* protected_page = map(page);
  measure("mprotect_pair_touch", [] {
    mprotect(protected_page, page, PROT_READ);
    mprotect(protected_page, page, PROT_READ | PROT_WRITE);
    *const_cast<volatile char*>(protected_page) = 1;
  });
}

// A token goes round `processes` of them; one turn of the whole ring is measured.
void measure_ring(const char* name, int processes) {
  std::vector<std::array<int, 2>> pipes(static_cast<std::size_t>(processes));
  for (auto& ends : pipes) require(pipe(ends.data()) == 0, "pipe");
  std::vector<pid_t> children;
  for (int i = 1; i < processes; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      const int in = pipes[static_cast<std::size_t>(i - 1)][0], out = pipes[static_cast<std::size_t>(i)][1];
      for (char byte; read(in, &byte, 1) == 1;) require(write(out, &byte, 1) == 1, "ring");
      _exit(0);
    }
    children.push_back(child);
  }
  char byte = 0;
  measure(name, [&] { require(write(pipes.front()[1], &byte, 1) == 1 && read(pipes.back()[0], &byte, 1) == 1, name); });
  for (const pid_t child : children) kill(child, SIGKILL), waitpid(child, nullptr, 0);
  for (const auto& ends : pipes) close(ends[0]), close(ends[1]);
}

void measure_round_trip(const char* name, int here, int there) {
  char byte = 0;
  const pid_t child = fork();
  if (child == 0) {
    while (read(there, &byte, 1) == 1) require(write(there, &byte, 1) == 1, name);
    _exit(0);
  }
  measure(name, [&] { require(write(here, &byte, 1) == 1 && read(here, &byte, 1) == 1, name); });
  kill(child, SIGKILL), waitpid(child, nullptr, 0);
  close(here), close(there);
}

void loopback_up() {
  const int any = socket(AF_INET, SOCK_DGRAM, 0);
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  require(ioctl(any, SIOCSIFFLAGS, &request) == 0, "lo");
  close(any);
}

void measure_sockets() {
  int ends[2];
  require(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0, "socketpair");
  measure_round_trip("af_unix_rt", ends[0], ends[1]);
  loopback_up();
  const int listener = socket(AF_INET, SOCK_STREAM, 0), here = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof address;
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  require(bind(listener, any, bytes) == 0 && listen(listener, 1) == 0 && getsockname(listener, any, &bytes) == 0 &&
              connect(here, any, bytes) == 0,
          "tcp");
  const int there = accept(listener, nullptr, nullptr), one = 1;
  for (const int fd : {here, there}) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  measure_round_trip("tcp_lo_rt", here, there);
  close(listener);
}

void measure_futex() {
  static auto* word =
      static_cast<std::uint32_t*>(mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  constexpr auto hand_over = [](std::uint32_t mine) {
    while (__atomic_load_n(word, __ATOMIC_ACQUIRE) != mine)
      syscall(SYS_futex, word, FUTEX_WAIT, 1 - mine, nullptr, nullptr, 0);
    __atomic_store_n(word, 1 - mine, __ATOMIC_RELEASE);
    syscall(SYS_futex, word, FUTEX_WAKE, 1, nullptr, nullptr, 0);
  };
  const pid_t child = fork();
  if (child == 0)
    for (;;) hand_over(1);
  measure("futex_pp", [=] { hand_over(0); });
  kill(child, SIGKILL), waitpid(child, nullptr, 0);
}

void run_child(const char* const* arguments) {
  const pid_t child = fork();
  if (child == 0) {
    if (arguments != nullptr) execv(arguments[0], const_cast<char* const*>(arguments));
    _exit(arguments == nullptr ? 0 : 1);
  }
  int status = 0;
  require(waitpid(child, &status, 0) == child && status == 0, "child");
}

void measure_processes() {
  static const char* const tiny[] = {"/bin/busybox", "true", nullptr};
  static const char* const shell[] = {"/bin/busybox", "sh", "-c", "busybox true", nullptr};
  measure("fork_exit_wait", [] { run_child(nullptr); });
  measure("fork_exec_tiny", [] { run_child(tiny); });
  measure("sh_c_tiny", [] { run_child(shell); });
}

}  // namespace

void measure_operations() {
  measure_computing();
  measure_digest();
  measure_calls();
  measure_signals();
  measure_memory();
  measure_ring("pipe_rt", 2);
  measure_ring("ctx_ring8", 8);
  measure_sockets();
  measure_futex();
  measure_processes();
}

}  // namespace bench
