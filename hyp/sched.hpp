// SPDX-License-Identifier: Apache-2.0
// The scheduler of one CPU: which of its vCPUs runs next, and for how long. Mechanism (cpu.cpp) tells it what becomes
// ready, what no longer is, and what a run took; time is an argument. Another policy replaces this class.
//
// Policy: fair by weight. Each vCPU has a virtual runtime, in ticks divided by its weight; the smallest among the ready
// ones runs, for at most a slice. One that wakes is placed at most half a slice before the queue's minimum: it runs
// soon, and sleep earns no hoard. The running one is kept until another is behind it by more than `grain`, so that
// equal ones alternate by slices. Debt is bounded, too: nobody waits longer than a few slices for what one long
// operation took. Virtual time cannot overflow: 64 bits of ticks at 100 MHz last five thousand years.
// Thread safety: own CPU only.
// Invariants: bit n of ready_ is set iff vcpus_[n] was made ready.
#pragma once

#include <array>

#include "hyp/vcpu.hpp"

namespace amphion::hyp {

inline constexpr u32 max_homed_vcpus = (AMPHION_MAX_INSTANCES + 1) * AMPHION_MAX_VCPUS;
static_assert(max_homed_vcpus <= 64);

class FairScheduler {
 public:
  void init(u64 slice_ticks) { slice_ = slice_ticks; }

  // At boot: gives the vCPU its slot.
  void add(Vcpu& vcpu);
  [[nodiscard]] Vcpu& vcpu(u32 slot) { return *vcpus_[slot]; }

  void ready(Vcpu& vcpu);
  void not_ready(Vcpu& vcpu);
  void ran(Vcpu& vcpu, u64 ticks);
  // The vCPU has nothing useful to do but is ready: others first.
  void yield(Vcpu& vcpu);

  // An interrupt came for the vCPU: it goes first, in short turns, if it is not ahead of the others by more than a
  // slice. A sibling may be spinning until it answers, on another CPU or on this one; that one goes on soon.
  void prefer(Vcpu& vcpu);

  // Null: nothing is ready.
  [[nodiscard]] Vcpu* pick();
  // How long the vCPU may run before pick() is asked again; `never` if it is alone.
  [[nodiscard]] u64 slice(const Vcpu& vcpu) const;

 private:
  [[nodiscard]] Vcpu* least() const;
  Vcpu* advance();
  [[nodiscard]] bool is_ready(const Vcpu& vcpu) const { return (ready_ >> vcpu.slot & 1) != 0; }

  std::array<Vcpu*, max_homed_vcpus> vcpus_{};
  u32 count_ = 0;
  u64 ready_ = 0;
  u64 minimum_ = 0;  // of the queue: never goes back
  u64 slice_ = 0;
  Vcpu* last_ = nullptr;
  Vcpu* preferred_ = nullptr;  // goes next
  bool short_turn_ = false;    // last_ goes on because it was preferred
};

}  // namespace amphion::hyp
