// SPDX-License-Identifier: Apache-2.0
// Other vCPUs, waiting, and the counter.
#pragma once

#include "hyp/sysreg.hpp"
#include "hyp/types.hpp"

namespace amphion::lab {

using hyp::u32;
using hyp::u64;

inline constexpr u32 virtual_timer = 27, physical_timer = 30;

using VcpuMain = void (*)();
// Starts the vCPU by PSCI; it runs `main` and powers itself off at its end. The answer is PSCI's.
u32 start_vcpu(u32 vcpu, VcpuMain main);
void wait_until_off(u32 vcpu);

[[nodiscard]] inline u64 counter() {
  u64 value;
  __asm__ volatile("isb\n mrrc p15, 1, %Q0, %R0, c14" : "=r"(value)::"memory");  // CNTVCT
  return value;
}
[[nodiscard]] inline u64 ticks_of_us(u32 us) { return u64{us} * (hyp::Cntfrq::read() / 1000) / 1000; }

inline void wait() { hyp::wait_for_interrupt(); }
void spin_us(u32 us);

// Until it holds, or the test fails after much longer than it can take.
template <typename Condition>
[[nodiscard]] bool becomes(Condition condition) {
  constexpr u32 patience_us = 5'000'000;
  const u64 end = counter() + ticks_of_us(patience_us);
  while (!condition()) {
    if (counter() > end) return false;
  }
  return true;
}

}  // namespace amphion::lab
