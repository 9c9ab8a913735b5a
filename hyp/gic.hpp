// SPDX-License-Identifier: Apache-2.0
// The physical GICv2 (IHI 0048B): distributor, CPU interface with EOImode 1 (priority drop and deactivation apart, so
// that a guest's own end of interrupt deactivates), and the list registers of the virtual interface.
// Guests never see this; what they see is vgic.hpp.
// Thread safety: CPU interface, private lines and list registers belong to the CPU; writes to SPI registers are single
// stores to set/clear registers or byte fields, except configuration (read-modify-write), under the vgic's lock.
#pragma once

#include "hyp/types.hpp"

namespace amphion::hyp::gic {

inline constexpr u32 spurious = 1020;  // this and above: no interrupt
inline constexpr u32 kick_sgi = 0;

void init_distributor();  // once, boot CPU
void init_cpu();          // every CPU: its private lines, CPU interface, virtual interface off

[[nodiscard]] u32 line_count();

struct Acknowledged {
  u32 raw;  // GICC_IAR
  [[nodiscard]] u32 intid() const { return raw & 0x3ff; }
};
[[nodiscard]] Acknowledged acknowledge();
void drop_priority(Acknowledged interrupt);
void deactivate(Acknowledged interrupt);

void kick(u32 cpu);

// Private lines of this CPU, SPIs of all.
void enable(u32 intid);
void disable(u32 intid);
void set_active(u32 intid, bool active);
void set_priority(u32 intid, u8 priority);
void set_targets(u32 intid, u8 cpu_mask);
void set_edge(u32 intid, bool edge);

// The virtual interface of this CPU (GICH)
[[nodiscard]] u32 list_register_count();
[[nodiscard]] u32 read_list(u32 index);
void write_list(u32 index, u32 value);
[[nodiscard]] u32 read_hcr();
void write_hcr(u32 value);
[[nodiscard]] u32 read_vmcr();
void write_vmcr(u32 value);
[[nodiscard]] u32 read_apr();
void write_apr(u32 value);

}  // namespace amphion::hyp::gic
