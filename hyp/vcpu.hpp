// SPDX-License-Identifier: Apache-2.0
// One virtual CPU: its saved registers, what it waits for, and how others reach it.
//
// Its home CPU is the one where the scheduler has placed it (cpu_of()), asleep or not; it changes when it is moved.
// Who owns what: while the instance runs everything belongs to the home CPU, but for `requests` and `io_pending`, and
// for `state` while state.power is 0: that is CPU_ON's, under the instance's `psci` lock, until it posts `start`. While
// the instance is STOPPED it belongs to the hypercall that holds `control`. Other CPUs ask by post(): a request bit,
// the home CPU's inbox, an interrupt. Statistics (`run`, `exits`) are read by HC_STATS at any time.
// Invariant: `state` is complete except for the banked, CP15, VFP and timer registers of the vCPU that is loaded on
// this CPU (world.hpp); r0..r12, lr, pc and cpsr are always in `state` while the hypervisor runs.
#pragma once

#include <atomic>

#include "hyp/abi/amphion_hypercall.h"
#include "hyp/psr.hpp"
#include "hyp/types.hpp"

namespace amphion::hyp {

class Instance;

enum class Run : u8 {
  off,      // PSCI: not powered
  ready,    // would run
  waiting,  // in WFI: an interrupt or a timer ends it
  device,   // its slot of the request page is with the host
  parked,   // touched memory beyond the bound
};

namespace request {
inline constexpr u32 kick = 1u << 0;    // interrupts may be deliverable
inline constexpr u32 start = 1u << 1;   // PSCI CPU_ON filled `state`
inline constexpr u32 io = 1u << 2;      // the device access is complete
inline constexpr u32 memory = 1u << 3;  // pages were freed
inline constexpr u32 pause = 1u << 4;
inline constexpr u32 resume = 1u << 5;
}  // namespace request

// A load or store that the host's device model performs.
struct DeviceAccess {
  u32 address = 0;  // intermediate physical
  u8 reg = 0;
  u8 bytes = 0;
  u8 instruction_bytes = 0;
  bool write = false;
  bool sign_extend = false;
};

struct Vcpu {
  amphion_vcpu state{};
  Instance* instance = nullptr;
  u32 index = 0;  // in the instance: MPIDR.Aff0
  u32 entity = 0;  // the scheduler's number of it, and its bit in CPUs' masks

  Run run = Run::off;
  bool paused = true;
  bool pause_wanted = false;
  DeviceAccess access{};

  u64 deadline = ~u64{0};  // physical counter at which a timer ends waiting
  u64 exits = 0;

  std::atomic<u32> requests{0};
  std::atomic<bool> io_pending{false};
};

// Asks `vcpu`'s home CPU for something; from any CPU.
void post(Vcpu& vcpu, u32 requests);
// Its home CPU is to look at its requests.
void remind(const Vcpu& vcpu);

// Registers as the guest's current mode sees them (n 0..14; 15 reads as pc + 8). Home CPU only.
[[nodiscard]] u32 read_banked_register(Vcpu& vcpu, u32 n);
void write_banked_register(Vcpu& vcpu, u32 n, u32 value);
inline constexpr u32 unbanked_registers = 8;  // r0..r7 are those of all modes
[[nodiscard]] inline u32 read_register(Vcpu& vcpu, u32 n) {
  return n < unbanked_registers ? vcpu.state.r[n] : read_banked_register(vcpu, n);
}
inline void write_register(Vcpu& vcpu, u32 n, u32 value) {
  if (n < unbanked_registers) {
    vcpu.state.r[n] = value;
  } else {
    write_banked_register(vcpu, n, value);
  }
}

// Steps over the trapped instruction of 2 or 4 bytes, Thumb's IT state included.
inline void skip_instruction(Vcpu& vcpu, u32 bytes) {
  vcpu.state.pc += bytes;
  vcpu.state.cpsr = psr::advance_it(vcpu.state.cpsr);
}

// Architectural reset (DDI 0406C, B1.9.1), powered off.
void reset_registers(amphion_vcpu& state);
// What a host may set: nothing that leads out of the guest's world.
[[nodiscard]] bool valid(const amphion_vcpu& state);

}  // namespace amphion::hyp
