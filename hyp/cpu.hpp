// SPDX-License-Identifier: Apache-2.0
// One physical CPU: its vCPUs, its inbox, and the loop that runs them.
// Thread safety: everything belongs to the CPU itself; others may only set bits of `inbox` (post()), and read `online`
// and `idle`.
#pragma once

#include <array>
#include <atomic>

#include "hyp/idle_time.hpp"
#include "hyp/vcpu.hpp"

namespace amphion::hyp {

inline constexpr u32 max_cpus = AMPHION_MAX_CPUS;

struct Cpu {
  u32 id = 0;
  Vcpu* loaded = nullptr;
  bool lists_loaded = false;  // the list registers are the loaded vCPU's, and what they say is not known to its lines
  u32 lists_used = 16;        // list registers of the hardware that may hold something
  u32 lists_control = 0;      // GICH_HCR as it stands
  u64 armed_deadline = ~u64{0};  // of the hypervisor's timer
  bool timer_raised = false;     // the loaded vCPU's timer interrupt may be active
  bool trap_wfe = true;          // as it stands in HCR
  bool look = true;              // something changed of what the loop decides by: it must decide again
  u64 sleepers = 0;   // vCPUs whose deadline counts, a bit each
  u32 ring_late = 0;  // bit n: instance n's host is to be told, at `ring_at`, of what its guest sent
  u64 ring_at = ~u64{0};
  std::atomic<u64> inbox{0};
  std::array<u8, AMPHION_MAX_INSTANCES + 1> ran_last{};  // of each instance, vCPU number + 1: whose local TLB entries are here
  bool posted_to_itself = false;  // since the inbox was last emptied
  IdleTime idle;
  std::atomic<bool> online{false};
};

extern std::array<Cpu, max_cpus> cpus;
[[nodiscard]] u32 cpu_count();
[[nodiscard]] Cpu& this_cpu();

// Brings up the others through the firmware; returns when they are online. Boot CPU.
void start_secondaries();
// Lets them enter their loops: instances exist.
void release_secondaries();

void init_cpu(Cpu& cpu);  // of itself
[[noreturn]] void run_loop(Cpu& cpu);

// For those who change what a vCPU of this CPU waits for.
void set_run(Vcpu& vcpu, Run run);
// Its timers are no longer kept by hardware.
void unloaded(Vcpu& vcpu);
void yield(Vcpu& vcpu);
// The vCPU goes to another CPU: nothing of it stays, and nothing is owed for its instance.
void let_go(Cpu& cpu, Vcpu& vcpu);
// The host hears within a millisecond, or when the vCPU stops, that the instance's UART has something for it.
void ring_soon(Vcpu& vcpu);
// An interrupt would be taken: WFI does not wait. Home CPU.
[[nodiscard]] bool interrupt_deliverable(Vcpu& vcpu);

}  // namespace amphion::hyp
