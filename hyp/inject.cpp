// SPDX-License-Identifier: Apache-2.0
// Exceptions that the hypervisor gives to the loaded vCPU; see trap.hpp.
#include "hyp/abi/amphion_hypercall.h"
#include "hyp/psr.hpp"
#include "hyp/sysreg.hpp"
#include "hyp/trap.hpp"
#include "hyp/world.hpp"

namespace amphion::hyp {
namespace {

constexpr u32 sctlr_high_vectors = 1u << 13, sctlr_thumb_exceptions = 1u << 30, sctlr_big_endian = 1u << 25;
constexpr u32 high_vectors = 0xffff'0000;
constexpr u32 ttbcr_long_descriptors = 1u << 31;
constexpr u32 external_abort_short = 0x008, external_abort_long = 0x210;  // synchronous, not on a walk

struct Exception {
  u32 mode, bank, vector, return_offset;
};

void take(Vcpu& vcpu, const Exception& exception, u32 masks) {
  amphion_vcpu& s = vcpu.state;
  save_banked(s);
  s.spsr[exception.bank] = s.cpsr;
  s.lr[exception.bank] = s.pc + exception.return_offset;
  load_banked(s);

  const u32 sctlr = Sctlr::read();
  u32 cpsr = s.cpsr & ~(psr::mode_bits | psr::thumb_bit | psr::jazelle | psr::it_bits | psr::big_endian);
  cpsr |= exception.mode | psr::mask_irq | masks;
  if ((sctlr & sctlr_thumb_exceptions) != 0) cpsr |= psr::thumb_bit;
  if ((sctlr & sctlr_big_endian) != 0) cpsr |= psr::big_endian;
  s.cpsr = cpsr;
  s.pc = ((sctlr & sctlr_high_vectors) != 0 ? high_vectors : Vbar::read()) + exception.vector;
}

u32 external_abort() {
  return (Ttbcr::read() & ttbcr_long_descriptors) != 0 ? external_abort_long : external_abort_short;
}

}  // namespace

void inject_undefined(Vcpu& vcpu) {
  const u32 offset = psr::thumb(vcpu.state.cpsr) ? 2 : 4;
  take(vcpu, {psr::und, AMPHION_MODE_UND, 0x04, offset}, 0);
}

void inject_data_abort(Vcpu& vcpu, u32 address) {
  Dfar::write(address);
  Dfsr::write(external_abort());
  take(vcpu, {psr::abt, AMPHION_MODE_ABT, 0x10, 8}, psr::mask_abort);
}

void inject_prefetch_abort(Vcpu& vcpu, u32 address) {
  Ifar::write(address);
  Ifsr::write(external_abort());
  take(vcpu, {psr::abt, AMPHION_MODE_ABT, 0x0c, 4}, psr::mask_abort);
}

}  // namespace amphion::hyp
