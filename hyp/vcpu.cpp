// SPDX-License-Identifier: Apache-2.0
// A vCPU's registers as its own modes see them, and the way to reach it from other CPUs; see vcpu.hpp.
#include "hyp/vcpu.hpp"

#include "hyp/cpu.hpp"
#include "hyp/gic.hpp"
#include "hyp/psr.hpp"
#include "hyp/sched.hpp"
#include "hyp/world.hpp"

namespace amphion::hyp {
namespace {

constexpr u32 first_fiq_register = 8, stack_pointer = 13, link_register = 14;
constexpr u32 sctlr_reset = 0x00c5'0078;  // Cortex-A7
constexpr u32 no_bank = ~0u;

u32 bank_of(u32 mode) {
  switch (mode) {
    case psr::svc:
      return AMPHION_MODE_SVC;
    case psr::abt:
      return AMPHION_MODE_ABT;
    case psr::und:
      return AMPHION_MODE_UND;
    case psr::irq:
      return AMPHION_MODE_IRQ;
    case psr::fiq:
      return AMPHION_MODE_FIQ;
    default:
      return no_bank;  // usr and sys
  }
}

// Where register n of the current mode lies; `banked` if that place is only true after save_banked().
u32* place(amphion_vcpu& s, u32 n, bool& banked) {
  const u32 bank = bank_of(psr::mode(s.cpsr));
  banked = true;
  if (n == stack_pointer) return bank == no_bank ? &s.sp_usr : &s.sp[bank];
  if (n == link_register && bank != no_bank) return &s.lr[bank];
  if (bank == AMPHION_MODE_FIQ && n >= first_fiq_register && n < stack_pointer) return &s.r_fiq[n - first_fiq_register];
  banked = false;
  if (n == link_register) return &s.lr_usr;
  return &s.r[n];
}

bool loaded(const Vcpu& vcpu) { return this_cpu().loaded == &vcpu; }

}  // namespace

// Requests that are set already were posted and not yet taken: whoever set them sees to inbox and interrupt, and the
// exchange that takes them follows this operation in their modification order, so it acquires what was written before.
// That is why a CPU serves its own posts, which interrupt nobody, before it enters a guest or waits (run_loop).
void post(Vcpu& vcpu, u32 requests) {
  const u32 before = vcpu.requests.fetch_or(requests, std::memory_order_release);
  if ((before & requests) == requests) return;
  remind(vcpu);
}

void remind(const Vcpu& vcpu) {
  Cpu& home = cpus[cpu_of(vcpu)];
  home.inbox.fetch_or(u64{1} << vcpu.entity, std::memory_order_release);
  if (&home == &this_cpu()) {
    home.posted_to_itself = true;
  } else {
    gic::kick(home.id);
  }
}

u32 read_banked_register(Vcpu& vcpu, u32 n) {
  if (n > link_register) return vcpu.state.pc + (psr::thumb(vcpu.state.cpsr) ? 4 : 8);
  bool banked;
  const u32* where = place(vcpu.state, n, banked);
  if (banked && loaded(vcpu)) save_banked(vcpu.state);
  return *where;
}

void write_banked_register(Vcpu& vcpu, u32 n, u32 value) {
  if (n > link_register) return;  // PC: UNPREDICTABLE as a destination of what traps
  bool banked;
  u32* where = place(vcpu.state, n, banked);
  if (banked && loaded(vcpu)) save_banked(vcpu.state);
  *where = value;
  if (banked && loaded(vcpu)) load_banked(vcpu.state);
}

void reset_registers(amphion_vcpu& state) {
  state = amphion_vcpu{};
  state.cpsr = psr::svc | psr::mask_all;
  state.sctlr = sctlr_reset;
}

bool valid(const amphion_vcpu& state) {
  constexpr u32 timer_bits = 3;
  const u32 mode = psr::mode(state.cpsr);
  const bool mode_valid = mode == psr::usr || mode == psr::sys || bank_of(mode) != no_bank;
  return mode_valid && (state.cpsr & psr::jazelle) == 0 && state.power <= 1 && state.cntv_ctl <= timer_bits &&
         state.cntp_ctl <= timer_bits;
}

}  // namespace amphion::hyp
