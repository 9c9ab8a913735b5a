// SPDX-License-Identifier: Apache-2.0
// Exceptions of a test guest: expected faults, and interrupts counted by their number. State is a vCPU's own.
#pragma once

#include <array>

#include "hyp/sysreg.hpp"
#include "hyp/types.hpp"
#include "machine/phone.hpp"

namespace amphion::lab {

using hyp::u32;
using hyp::u64;

enum class Kind : u32 {
  none = 0,
  undefined = 1,
  supervisor = 2,
  prefetch = 3,
  data = 4,
  interrupt = 6,
  fast_interrupt = 7
};

// As start.S saves it. `lr` is that of SVC mode; `pc` the address to go on at.
struct Frame {
  u32 r[13];
  u32 lr, pc, cpsr;
};

struct Fault {
  Kind kind = Kind::none;
  u32 count = 0;
  u32 pc = 0;                   // of the instruction
  u32 address = 0, status = 0;  // of an abort
  u32 cpsr = 0;
};

using InterruptHook = void (*)(u32 acknowledged);  // what GICC_IAR said; before the end of interrupt

struct VcpuState {
  bool catching = false;
  Fault fault;
  std::array<volatile u32, machine::irq_lines> taken{};  // interrupts by INTID
  volatile u32 spurious = 0;
  volatile u32 last_acknowledged = 0;
  InterruptHook hook = nullptr;
};

[[nodiscard]] inline u32 vcpu_number() { return hyp::Mpidr::read() & 3; }
[[nodiscard]] VcpuState& own();
[[nodiscard]] VcpuState& state_of(u32 vcpu);

// What `action` runs into; the faulting instructions are stepped over. Of several the last, and how many.
template <typename Action>
Fault fault_of(Action action) {
  VcpuState& state = own();
  state.fault = {};
  state.catching = true;
  __asm__ volatile("" ::: "memory");
  action();
  __asm__ volatile("" ::: "memory");
  state.catching = false;
  return state.fault;
}
template <typename Action>
bool undefined(Action action) {
  const Fault fault = fault_of(action);
  return fault.kind == Kind::undefined && fault.count == 1;
}

inline void interrupts_on() { __asm__ volatile("cpsie i" ::: "memory"); }
inline void interrupts_off() { __asm__ volatile("cpsid i" ::: "memory"); }

}  // namespace amphion::lab
