// SPDX-License-Identifier: Apache-2.0
// How hyp-load measures: the middle one of several batches, in nanoseconds of the machine's counter, which under QEMU's
// icount are instructions. One process, one thread; called by main.cpp's list.
#pragma once

#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace bench {

inline std::int64_t now_ns() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * std::int64_t{1'000'000'000} + t.tv_nsec;
}

inline void require(bool good, const char* what) {
  if (good) return;
  std::perror(what);
  std::fflush(nullptr);
  _exit(1);
}

inline void value(const char* name, double ns) { std::printf("value %s %.1f\n", name, ns); }

// Of several batches the one in the middle: what the kernel puts off (RCU, its own timers) falls into some of them.
template <typename Action>
double typical(std::size_t batches, int times, Action action) {
  std::vector<double> took(batches);
  for (double& batch : took) {
    const std::int64_t start = now_ns();
    for (int i = 0; i < times; ++i) action();
    batch = static_cast<double>(now_ns() - start) / times;
  }
  std::sort(took.begin(), took.end());
  return took[batches / 2];
}

// A batch lasts about `batch_ns`, so that every one contains the same few ticks of the kernel's clock.
template <typename Action>
double typical(Action action) {
  constexpr std::size_t batches = 15;
  constexpr std::int64_t batch_ns = 20'000'000;
  action();
  const std::int64_t begin = now_ns();
  action();
  const auto times = std::clamp<std::int64_t>(batch_ns / (now_ns() - begin + 1), 1, 1'000'000);
  return typical(batches, static_cast<int>(times), action);
}
template <typename Action>
void measure(const char* name, Action action) {
  value(name, typical(action));
}

void measure_operations();  // unprivileged: the ratio to the bare machine is what a hypervisor costs
void measure_openssl();
void measure_hackbench();
void measure_serial();
void measure_console();
void measure_sleep();
void measure_kernel();  // by the module hyp_bench
void measure_yield();   // Xen's; beside a domain that runs the next one
void yield_forever();
void touch_memory();  // all that is free, once: nobody's first touch is measured later
void spin_forever();
void idle_forever();

}  // namespace bench
