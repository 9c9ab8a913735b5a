// SPDX-License-Identifier: Apache-2.0
// Program status registers (DDI 0406C, B1.3.3): modes, IT state, conditions.
#pragma once

#include "hyp/types.hpp"

namespace amphion::hyp::psr {

inline constexpr u32 usr = 0x10, fiq = 0x11, irq = 0x12, svc = 0x13, abt = 0x17, und = 0x1b, sys = 0x1f;
inline constexpr u32 mode_bits = 0x1f, thumb_bit = 1u << 5, mask_fiq = 1u << 6, mask_irq = 1u << 7,
                     mask_abort = 1u << 8, big_endian = 1u << 9, jazelle = 1u << 24;
inline constexpr u32 mask_all = mask_fiq | mask_irq | mask_abort;
inline constexpr u32 it_bits = 0x0600'fc00;

[[nodiscard]] constexpr u32 mode(u32 cpsr) { return cpsr & mode_bits; }
[[nodiscard]] constexpr bool thumb(u32 cpsr) { return (cpsr & thumb_bit) != 0; }

// IT[7:2] stand in bits 15:10, IT[1:0] in 26:25.
[[nodiscard]] constexpr u32 it_state(u32 cpsr) { return (cpsr >> 8 & 0xfc) | (cpsr >> 25 & 3); }
[[nodiscard]] constexpr u32 with_it_state(u32 cpsr, u32 it) {
  return (cpsr & ~it_bits) | (it & 0xfc) << 8 | (it & 3) << 25;
}
// ITAdvance() of A2.5.2
[[nodiscard]] constexpr u32 advance_it(u32 cpsr) {
  if (!thumb(cpsr)) return cpsr;
  const u32 it = it_state(cpsr);
  return with_it_state(cpsr, (it & 7) == 0 ? 0 : (it & 0xe0) | (it << 1 & 0x1f));
}

// ConditionPassed() of A8.3.1
[[nodiscard]] constexpr bool passes(u32 cpsr, u32 condition) {
  const bool n = (cpsr >> 31 & 1) != 0, z = (cpsr >> 30 & 1) != 0, c = (cpsr >> 29 & 1) != 0, v = (cpsr >> 28 & 1) != 0;
  bool result = true;
  switch (condition >> 1) {
    case 0:
      result = z;
      break;
    case 1:
      result = c;
      break;
    case 2:
      result = n;
      break;
    case 3:
      result = v;
      break;
    case 4:
      result = c && !z;
      break;
    case 5:
      result = n == v;
      break;
    case 6:
      result = n == v && !z;
      break;
    default:
      return true;
  }
  return (condition & 1) != 0 ? !result : result;
}
static_assert(advance_it(thumb_bit | with_it_state(0, 0x08)) == thumb_bit);
static_assert(it_state(advance_it(with_it_state(thumb_bit, 0x14))) == 0x08);

}  // namespace amphion::hyp::psr
