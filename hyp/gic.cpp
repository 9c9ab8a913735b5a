// SPDX-License-Identifier: Apache-2.0
// Driver of the physical GICv2; see gic.hpp.
#include "hyp/gic.hpp"

#include "hyp/sysreg.hpp"
#include "hyp/this_board.hpp"

namespace amphion::hyp::gic {
namespace {

constexpr u32 gicd = board::board.gic.distributor;
constexpr u32 gicc = board::board.gic.cpu_interface;
constexpr u32 gich = board::board.gic.virtual_control;

constexpr u32 gicd_ctlr = gicd + 0x000, gicd_typer = gicd + 0x004, gicd_isenabler = gicd + 0x100,
              gicd_icenabler = gicd + 0x180, gicd_icpendr = gicd + 0x280, gicd_isactiver = gicd + 0x300,
              gicd_icactiver = gicd + 0x380, gicd_ipriorityr = gicd + 0x400, gicd_itargetsr = gicd + 0x800,
              gicd_icfgr = gicd + 0xc00, gicd_sgir = gicd + 0xf00;
constexpr u32 gicc_ctlr = gicc + 0x000, gicc_pmr = gicc + 0x004, gicc_iar = gicc + 0x00c, gicc_eoir = gicc + 0x010,
              gicc_dir = gicc + 0x1000;
constexpr u32 gich_hcr = gich + 0x000, gich_vtr = gich + 0x004, gich_vmcr = gich + 0x008, gich_apr = gich + 0x0f0,
              gich_lr = gich + 0x100;

constexpr u8 default_priority = 0xa0;
constexpr u8 timer_priority = 0x80;
constexpr u32 ctlr_enable = 1u << 0, ctlr_eoi_mode = 1u << 9;
constexpr u32 private_lines = 32;

constexpr u32 word_of(u32 base, u32 intid) { return base + intid / 32 * 4; }
constexpr u32 bit_of(u32 intid) { return 1u << (intid % 32); }

}  // namespace

u32 line_count() { return ((read32(gicd_typer) & 0x1f) + 1) * 32; }

void init_distributor() {
  write32(gicd_ctlr, 0);
  for (u32 intid = private_lines; intid < line_count(); intid += 32) {
    write32(word_of(gicd_icenabler, intid), ~0u);
    write32(word_of(gicd_icpendr, intid), ~0u);
    write32(word_of(gicd_icactiver, intid), ~0u);
  }
  for (u32 intid = private_lines; intid < line_count(); ++intid) {
    set_priority(intid, default_priority);
    set_targets(intid, 1);
  }
  write32(gicd_ctlr, ctlr_enable);
}

void init_cpu() {
  write32(gicd_icenabler, 0xffff'0000);
  write32(gicd_icactiver, ~0u);
  write32(gicd_icpendr, 0xffff'0000);
  for (u32 intid = 0; intid < private_lines; ++intid) set_priority(intid, default_priority);
  set_priority(kick_sgi, timer_priority);
  set_priority(board::board.interrupts.hypervisor_timer, timer_priority);
  write32(gicd_isenabler, 1u << kick_sgi | bit_of(board::board.interrupts.hypervisor_timer) |
                              bit_of(board::board.interrupts.virtual_timer) |
                              bit_of(board::board.interrupts.maintenance));
  write32(gicc_pmr, 0xf8);
  write32(gicc_ctlr, ctlr_enable | ctlr_eoi_mode);
  write_hcr(0);
  for (u32 i = 0; i < list_register_count(); ++i) write_list(i, 0);
  write_apr(0);
}

Acknowledged acknowledge() { return {read32(gicc_iar)}; }
void drop_priority(Acknowledged interrupt) { write32(gicc_eoir, interrupt.raw); }
void deactivate(Acknowledged interrupt) { write32(gicc_dir, interrupt.raw); }

void kick(u32 cpu) {
  dsb();
  write32(gicd_sgir, 1u << (16 + cpu) | kick_sgi);
}

void enable(u32 intid) { write32(word_of(gicd_isenabler, intid), bit_of(intid)); }
void disable(u32 intid) { write32(word_of(gicd_icenabler, intid), bit_of(intid)); }
void set_active(u32 intid, bool active) {
  write32(word_of(active ? gicd_isactiver : gicd_icactiver, intid), bit_of(intid));
}
void set_priority(u32 intid, u8 priority) { write8(gicd_ipriorityr + intid, priority); }
void set_targets(u32 intid, u8 cpu_mask) { write8(gicd_itargetsr + intid, cpu_mask); }
void set_edge(u32 intid, bool edge) {
  const u32 address = gicd_icfgr + intid / 16 * 4;
  const u32 bit = 2u << (intid % 16 * 2);
  const u32 old = read32(address);
  write32(address, edge ? old | bit : old & ~bit);
}

u32 list_register_count() { return (read32(gich_vtr) & 0x3f) + 1; }
u32 read_list(u32 index) { return read32(gich_lr + index * 4); }
void write_list(u32 index, u32 value) { write32(gich_lr + index * 4, value); }
u32 read_hcr() { return read32(gich_hcr); }
void write_hcr(u32 value) { write32(gich_hcr, value); }
u32 read_vmcr() { return read32(gich_vmcr); }
void write_vmcr(u32 value) { write32(gich_vmcr, value); }
u32 read_apr() { return read32(gich_apr); }
void write_apr(u32 value) { write32(gich_apr, value); }

}  // namespace amphion::hyp::gic
