// SPDX-License-Identifier: Apache-2.0
// The trap table; see trap.hpp. Encodings: DDI 0406C, B3.13.6 (HSR).
#include "hyp/trap.hpp"

#include <array>

#include "hyp/cpu.hpp"
#include "hyp/hypercall.hpp"
#include "hyp/instance.hpp"
#include "hyp/mmio.hpp"
#include "hyp/psci.hpp"
#include "hyp/psr.hpp"
#include "hyp/sysreg.hpp"
#include "hyp/trap_cp.hpp"

namespace amphion::hyp {
namespace {

using Handler = Trap (*)(Vcpu& vcpu, u32 hsr);

u32 instruction_bytes(u32 hsr) { return (hsr >> 25 & 1) != 0 ? 4 : 2; }

// An instruction whose condition fails may trap all the same. If HSR has no condition, it is a Thumb one: IT state.
bool condition_passes(const Vcpu& vcpu, u32 hsr) {
  constexpr u32 always = 0xe;
  const u32 cpsr = vcpu.state.cpsr;
  u32 condition = hsr >> 20 & 0xf;
  if ((hsr >> 24 & 1) == 0) {
    const u32 it = psr::it_state(cpsr);
    condition = it == 0 ? always : it >> 4;
  }
  return psr::passes(cpsr, condition);
}

Trap on_wait(Vcpu& vcpu, u32 hsr) {
  skip_instruction(vcpu, instruction_bytes(hsr));
  const bool event = (hsr & 1) != 0;
  if (event) {
    yield(vcpu);
  } else if (!interrupt_deliverable(vcpu)) {
    set_run(vcpu, Run::waiting);
  }
  return Trap::handled;
}

Trap on_hypervisor_call(Vcpu& vcpu, u32 hsr) {
  constexpr u32 not_supported = ~0u;
  if ((hsr & 0xffff) != 0) {
    vcpu.state.r[0] = not_supported;
    return Trap::handled;
  }
  if (on_psci(vcpu) || on_hypercall(vcpu)) return Trap::handled;
  vcpu.state.r[0] = not_supported;
  return Trap::handled;
}

Trap on_forbidden(Vcpu&, u32) { return Trap::forbidden; }

struct Entry {
  Handler handler = nullptr;
  bool conditional = false;  // check the condition first, step over the instruction if it fails
  bool steps = false;        // step over the instruction if it was handled
};

constexpr auto make_table() {
  std::array<Entry, 64> table{};
  table[0x01] = {on_wait, true, false};
  table[0x03] = {on_cp15_32, true, true};
  table[0x04] = {on_cp15_64, true, true};
  table[0x05] = {on_cp14_32, true, true};
  table[0x06] = {on_forbidden, true, false};  // LDC, STC to CP14
  table[0x07] = {on_forbidden, true, false};  // HCPTR
  table[0x0c] = {on_cp14_64, true, true};
  table[0x12] = {on_hypervisor_call, false, false};
  table[0x13] = {on_forbidden, true, false};  // SMC: firmware is not for guests
  table[0x20] = {on_prefetch_abort, false, false};
  table[0x24] = {on_data_abort, false, false};
  return table;
}
constexpr auto table = make_table();

}  // namespace

void handle_trap(Vcpu& vcpu) {
  const u32 hsr = Hsr::read();
  const Entry& entry = table[hsr >> 26];
  if (entry.conditional && !condition_passes(vcpu, hsr)) {
    skip_instruction(vcpu, instruction_bytes(hsr));
    return;
  }
  const Trap outcome = entry.handler == nullptr ? Trap::not_mine : entry.handler(vcpu, hsr);
  if (outcome != Trap::handled) {
    inject_undefined(vcpu);
  } else if (entry.steps) {
    skip_instruction(vcpu, instruction_bytes(hsr));
  }
}

}  // namespace amphion::hyp
