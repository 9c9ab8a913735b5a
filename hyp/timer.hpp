// SPDX-License-Identifier: Apache-2.0
// The architected timers (DDI 0406C, chapter B8). CNTHP is the hypervisor's: slices and timeouts. CNTV belongs to the
// loaded vCPU; while a vCPU is not loaded or waits, its deadline is kept by CNTHP. CNTP is emulated on the same
// deadlines, in the instance's own counter.
// Thread safety: own CPU only.
#pragma once

#include "hyp/types.hpp"

namespace amphion::hyp {

struct Cpu;
struct Vcpu;

inline constexpr u64 never = ~u64{0};

// When the physical counter stands at `now` and the instance's at `now` - `offset` (which may be ahead of it): the
// physical time at which the instance's counter reaches `virtual_time`; `now` if it has. The comparison is unsigned
// (B8.1.4). A time that the physical counter does not reach before it wraps is never.
[[nodiscard]] constexpr u64 to_physical(u64 virtual_time, u64 offset, u64 now) {
  const u64 virtual_now = now - offset;
  if (virtual_time <= virtual_now) return now;
  const u64 left = virtual_time - virtual_now;
  return left > ~now ? never : now + left;
}

void init_timers();  // per CPU

[[nodiscard]] u64 now();  // physical counter
[[nodiscard]] u64 ticks_of_us(u32 us);
[[nodiscard]] u64 ns_of_ticks(u64 ticks);

void arm_hypervisor_timer(Cpu& cpu, u64 deadline);  // physical counter; `never` disarms

// CNTV of the loaded vCPU, and the active state of its interrupt.
void load_timer(Vcpu& vcpu);
void save_timer(Vcpu& vcpu);
// Before the vGIC's flush: if the raised interrupt was ended without its list register, the physical one ends, too.
void settle_timer_interrupt(Cpu& cpu, Vcpu& vcpu);

// When the hypervisor must end the vCPU's waiting. Of the loaded one CNTV's own interrupt does.
[[nodiscard]] u64 wake_deadline(const Cpu& cpu, const Vcpu& vcpu);
// CNTP only; `never` if it is off or its line is up already.
[[nodiscard]] u64 physical_timer_deadline(const Vcpu& vcpu);
// Drives the CNTP interrupt line by the condition as it is now. Home CPU: the vCPU's next flush sees the line.
void update_physical_timer(Vcpu& vcpu);

[[nodiscard]] u64 guest_counter(const Vcpu& vcpu);

}  // namespace amphion::hyp
