// SPDX-License-Identifier: Apache-2.0
// Lines on the consoles until they are drained, and sleeping.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <termios.h>
#include <unistd.h>

#include <limits>
#include <string>

#include "tests/bench/hyp/measure.hpp"

namespace bench {
namespace {

void load_module(const char* path) {
  const int file = open(path, O_RDONLY);
  require(file >= 0 && syscall(SYS_finit_module, file, "", 0) == 0, path);
  close(file);
}

// The module prints its own values to the kernel's log, which the console shows, and refuses to stay.
void run_in_kernel(const char* words) {
  const char* const path = "/modules/hyp_bench.ko";
  const int file = open(path, O_RDONLY);
  require(file >= 0, path);
  std::fflush(nullptr);
  syscall(SYS_finit_module, file, words, 0);
  close(file);
}

// 64 bytes without a line's end, so that the terminal adds nothing. A batch is long enough that each contains as often
// what is done for many lines at once, such as the host's taking of 512 bytes.
void measure_line(const char* name, const char* device) {
  const int file = open(device, O_RDWR | O_NOCTTY);
  require(file >= 0, device);
  termios raw{};
  require(tcgetattr(file, &raw) == 0, device);
  cfmakeraw(&raw);
  tcsetattr(file, TCSANOW, &raw);
  const std::string line(64, '.');
  const double ns = typical(11, 16, [&] {
    require(write(file, line.data(), line.size()) == static_cast<ssize_t>(line.size()), device);
    tcdrain(file);
  });
  close(file);
  std::printf("\n");
  value(name, ns);
}

}  // namespace

// A device of that name may be registered without hardware behind it.
void measure_serial() {
  if (const int file = open("/dev/ttyAMA0", O_RDWR | O_NOCTTY); file >= 0) {
    close(file);
    measure_line("pl011_line", "/dev/ttyAMA0");
  } else {
    std::printf("no /dev/ttyAMA0: this machine has no PL011\n");
  }
}

// Virtio's, or Xen's own in its dom0.
void measure_console() {
  for (const char* const module : {"/modules/virtio_mmio.ko", "/modules/virtio_console.ko"}) load_module(module);
  for (int tries = 0; access("/dev/hvc0", W_OK) != 0 && tries < 100; ++tries) usleep(10'000);
  if (const int file = open("/dev/hvc0", O_RDWR | O_NOCTTY); file >= 0) {
    close(file);
    measure_line("vconsole_line", "/dev/hvc0");
  } else {
    std::printf("no /dev/hvc0: this machine has no paravirtual console\n");
  }
}

void measure_sleep() {
  constexpr int times = 200;
  std::int64_t best = std::numeric_limits<std::int64_t>::max(), total = 0;
  for (int i = 0; i < times; ++i) {
    const timespec one_ms{0, 1'000'000};
    const std::int64_t begin = now_ns();
    nanosleep(&one_ms, nullptr);
    const std::int64_t took = now_ns() - begin;
    best = std::min(best, took);
    total += took;
  }
  value("sleep_1ms_best", static_cast<double>(best));
  value("sleep_1ms_mean", static_cast<double>(total) / times);
}

void touch_memory() {
  constexpr std::size_t page = 4096, left_bytes = 16u << 20;
  struct sysinfo info {};
  require(sysinfo(&info) == 0, "sysinfo");
  const std::size_t free = std::size_t{info.freeram} * info.mem_unit;
  if (free <= left_bytes) return;
  void* const memory = mmap(nullptr, free - left_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  require(memory != MAP_FAILED, "memory");
  for (std::size_t at = 0; at < free - left_bytes; at += page) static_cast<volatile char*>(memory)[at] = 1;
  munmap(memory, free - left_bytes);
}

void spin_forever() {
  std::printf("bench is beside\n");
  std::fflush(nullptr);
  for (;;) __asm__ volatile("");
}

void idle_forever() {
  std::printf("bench is beside\n");
  std::fflush(nullptr);
  for (;;) pause();
}

void measure_kernel() { run_in_kernel(""); }
void measure_yield() { run_in_kernel("yields=1"); }
void yield_forever() { run_in_kernel("yields=2"); }

}  // namespace bench
