// SPDX-License-Identifier: Apache-2.0
// The GICv2 as a guest drives it (IHI 0048B, chapter 4).
#pragma once

#include "hyp/types.hpp"
#include "tests/hyp/runtime/platform.hpp"

namespace amphion::lab::gic {

using hyp::read32;
using hyp::u32;
using hyp::write32;

inline constexpr u32 gicd = platform::gicd, gicc = platform::gicc;
inline constexpr u32 ctlr = gicd, typer = gicd + 0x004, isenabler = gicd + 0x100, icenabler = gicd + 0x180,
                     ispendr = gicd + 0x200, icpendr = gicd + 0x280, isactiver = gicd + 0x300, icactiver = gicd + 0x380,
                     ipriorityr = gicd + 0x400, itargetsr = gicd + 0x800, icfgr = gicd + 0xc00, sgir = gicd + 0xf00;
inline constexpr u32 intid_mask = 0x3ff, none = 1023;
inline constexpr u32 sgi_listed = 0u << 24, sgi_others = 1u << 24, sgi_self = 2u << 24;

inline void set_bit(u32 base, u32 intid) { write32(base + intid / 32 * 4, 1u << intid % 32); }
[[nodiscard]] inline bool bit(u32 base, u32 intid) { return (read32(base + intid / 32 * 4) >> intid % 32 & 1) != 0; }

inline void enable(u32 intid) { set_bit(isenabler, intid); }
inline void disable(u32 intid) { set_bit(icenabler, intid); }
inline void set_priority(u32 intid, u32 priority) { hyp::write8(ipriorityr + intid, static_cast<hyp::u8>(priority)); }
inline void set_targets(u32 intid, u32 mask) { hyp::write8(itargetsr + intid, static_cast<hyp::u8>(mask)); }
inline void set_edge(u32 intid, bool edge) {
  const u32 address = icfgr + intid / 16 * 4, mask = 2u << intid % 16 * 2;
  write32(address, edge ? read32(address) | mask : read32(address) & ~mask);
}
inline void send(u32 sgi, u32 targets) {
  __asm__ volatile("dsb" ::: "memory");
  write32(sgir, sgi_listed | targets << 16 | sgi);
}
inline void send_filtered(u32 sgi, u32 filter) {
  __asm__ volatile("dsb" ::: "memory");
  write32(sgir, filter | sgi);
}

[[nodiscard]] inline u32 acknowledge() { return read32(gicc + 0x0c); }
inline void end(u32 acknowledged) { write32(gicc + 0x10, acknowledged); }
[[nodiscard]] inline u32 running_priority() { return read32(gicc + 0x14); }
[[nodiscard]] inline u32 highest_pending() { return read32(gicc + 0x18); }
inline void set_mask(u32 priority) { write32(gicc + 0x04, priority); }
inline void set_binary_point(u32 point) { write32(gicc + 0x08, point); }

// On each vCPU; the first also turns the distributor on.
inline void init() {
  write32(ctlr, 1);
  set_mask(0xf0);
  set_binary_point(0);
  write32(gicc, 1);
}

}  // namespace amphion::lab::gic
