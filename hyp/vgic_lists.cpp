// SPDX-License-Identifier: Apache-2.0
// From the lines to the list registers and back (IHI 0048B, chapter 5).
//
// A list register holds one line. Active lines come first, as their EOI should find them; but while something is
// pending at least one list register tells of it, for it may preempt. What does not fit:
//  - pending lines: NPIE, a maintenance interrupt when no list register is pending any more, brings the next. Those of
//    a group that the guest's CPU interface has off come last, and while some are left out a maintenance interrupt
//    tells when the guest turns a group on or off;
//  - active lines: their EOI finds no list register and raises GICH_HCR.EOICount; LRENPIE brings that here. Guests end
//    interrupts in order of priority, and list registers hold the highest, so the highest one left is meant.
// An active SGI whose source is unknown (it came with a saved state) is kept out of the list registers, since an EOI
// must match the source, and ends in the second way.
// An emulated level line is pending while its level is high; bit EOI of the list register asks for a maintenance
// interrupt at its end, so that it is sampled again.
#include "hyp/vgic.hpp"

namespace amphion::hyp {

namespace {

constexpr std::uint32_t lr_eoi = 1u << 19;  // if HW is clear
constexpr std::uint32_t lr_pending = 1u << 28;
constexpr std::uint32_t lr_active = 1u << 29;
constexpr std::uint32_t lr_group1 = 1u << 30;
constexpr std::uint32_t lr_hw = 1u << 31;
constexpr std::uint32_t lr_physical_shift = 10;
constexpr std::uint32_t lr_source_shift = 10;
constexpr std::uint32_t lr_priority_shift = 23;

constexpr std::uint32_t hcr_en = 1u << 0;
constexpr std::uint32_t hcr_lrenpie = 1u << 2;
constexpr std::uint32_t hcr_npie = 1u << 3;
constexpr std::uint32_t hcr_eoicount_shift = 27;
constexpr std::uint32_t group_is_off = 0x100;  // ranks behind every priority

// VGrp0EIE, VGrp0DIE, VGrp1EIE, VGrp1DIE: a maintenance interrupt as soon as the guest turns a group the other way.
constexpr std::uint32_t hcr_group_changes(std::uint32_t vmcr) {
  return ((vmcr & 1) != 0 ? 1u << 5 : 1u << 4) | ((vmcr & 2) != 0 ? 1u << 7 : 1u << 6);
}

}  // namespace

// The best lines for the list registers, highest priority (lowest number) first; the lower INTID first among equals.
struct Vgic::Selection {
  struct List {
    struct Entry {
      std::uint16_t rank;
      std::uint16_t intid;
    };
    std::array<Entry, VgicCpu::max_lrs> best;  // the first `kept` are valid
    std::uint32_t kept = 0;
    std::uint32_t total = 0;

    // Lines come in ascending order of INTID.
    void add(std::uint32_t rank, std::uint32_t intid, std::uint32_t limit) {
      ++total;
      std::uint32_t at = kept < limit ? kept++ : limit;
      while (at > 0 && rank < best[at - 1].rank) {
        if (at < limit) best[at] = best[at - 1];
        --at;
      }
      if (at < limit) best[at] = {static_cast<std::uint16_t>(rank), static_cast<std::uint16_t>(intid)};
    }
  };
  List active;
  List pending;
  bool unlisted = false;
};

void Vgic::select(std::uint32_t vcpu, Selection& selection) {
  const Cpu& cpu = cpus_[vcpu];
  for (std::uint32_t left = cpu.busy; left != 0; left &= left - 1) {
    const auto w = static_cast<std::uint32_t>(__builtin_ctz(left));
    for (std::uint32_t rest = cpu.work[w]; rest != 0; rest &= rest - 1) {
      const std::uint32_t intid = w * 32 + static_cast<std::uint32_t>(__builtin_ctz(rest));
      const Line& l = line(vcpu, intid);
      if (l.active) {
        if (intid < sgis && l.source == nobody) {
          selection.unlisted = true;
        } else {
          selection.active.add(l.priority, intid, list_registers_);
        }
      } else if (l.enabled && pending(l) && group_enabled(l)) {
        const std::uint32_t masked = (cpu.interface.vmcr >> (l.group1 ? 1 : 0) & 1) != 0 ? 0 : group_is_off;
        selection.pending.add(l.priority + masked, intid, list_registers_);
      }
    }
  }
}

// Mostly one line has work: there is nothing to choose.
bool Vgic::load_only_line(std::uint32_t vcpu) {
  const Cpu& cpu = cpus_[vcpu];
  const auto w = static_cast<std::uint32_t>(__builtin_ctz(cpu.busy));
  const std::uint32_t bits = cpu.work[w];
  if ((cpu.busy & (cpu.busy - 1)) != 0 || (bits & (bits - 1)) != 0) return false;
  const std::uint32_t intid = w * 32 + static_cast<std::uint32_t>(__builtin_ctz(bits));
  const Line& l = line(vcpu, intid);
  if (l.active ? intid < sgis && l.source == nobody : !l.enabled || !pending(l) || !group_enabled(l)) return false;
  load(vcpu, intid, false);
  return true;
}

void Vgic::flush(std::uint32_t vcpu) {
  VgicCpu& interface = cpus_[vcpu].interface;
  interface.used = 0;
  interface.hcr = hcr_en;
  // An exchange: what is told after it stays told, what was told before it is seen by what follows.
  static_cast<void>(__atomic_exchange_n(&cpus_[vcpu].changed, false, __ATOMIC_SEQ_CST));
  if (idle(vcpu)) return;
  const LockGuard guard(lock_);
  if (cpus_[vcpu].busy != 0 && load_only_line(vcpu)) return;
  Selection selection;
  select(vcpu, selection);
  const auto& [active, pending_now, unlisted] = selection;
  if (active.total + pending_now.total == 0) {
    if (unlisted) interface.hcr |= hcr_lrenpie;
    return;
  }
  const std::uint32_t left = active.total < list_registers_ ? list_registers_ - active.total : 1;
  const std::uint32_t pending_slots = pending_now.total < left ? pending_now.total : left;
  const std::uint32_t rest = list_registers_ - pending_slots;
  const std::uint32_t active_slots = active.total < rest ? active.total : rest;
  const bool left_out = pending_now.total > pending_slots;
  for (std::uint32_t i = 0; i < active_slots; ++i) load(vcpu, active.best[i].intid, left_out);
  for (std::uint32_t i = 0; i < pending_slots; ++i) load(vcpu, pending_now.best[i].intid, left_out);
  if (unlisted || active.total > active_slots) interface.hcr |= hcr_lrenpie;
  if (left_out) interface.hcr |= hcr_npie | hcr_group_changes(interface.vmcr);
}

// Moves the line into the next list register. One that is active and pending goes on when it ends, by bit EOI, if it is
// pending for another vCPU, its target now, or if some that are pending were left out: they may come before it.
void Vgic::load(std::uint32_t vcpu, std::uint32_t intid, bool left_out) {
  Cpu& cpu = cpus_[vcpu];
  Line& l = line(vcpu, intid);
  const bool deliver = l.enabled && group_enabled(l) && pending(l);
  std::uint32_t lr = intid | std::uint32_t{l.priority} >> 3 << lr_priority_shift;
  if (l.group1) lr |= lr_group1;
  if (l.active) lr |= lr_active;
  if (intid < sgis) {
    lr |= load_sgi(l, left_out);
  } else if (l.hw && (l.active || l.raised)) {
    lr |= lr_hw | std::uint32_t{l.physical} << lr_physical_shift;
    if (deliver && !l.active) {
      lr |= lr_pending;
      l.raised = false;
    }
  } else if (deliver && l.active && (left_out || (intid >= private_lines && first_target(l) != vcpu))) {
    lr |= lr_eoi;
  } else if (deliver) {
    lr |= lr_pending;
    if (!l.hw && !l.edge && l.level) lr |= lr_eoi;
    l.lr_latch = l.latch;
    l.latch = false;
  }
  l.lr_pending = (lr & lr_pending) != 0;
  l.lr_eoi = (lr & lr_eoi) != 0;
  l.loaded = true;
  l.home = static_cast<std::uint8_t>(vcpu);
  cpu.loaded[cpu.interface.used] = static_cast<std::uint16_t>(intid);
  cpu.interface.lr[cpu.interface.used++] = lr;
}

// One source at a time; bit EOI asks for the next one.
std::uint32_t Vgic::load_sgi(Line& l, bool left_out) {
  if (!group_enabled(l)) return l.active ? std::uint32_t{l.source} << lr_source_shift : 0;
  if (l.active && left_out) return std::uint32_t{l.source} << lr_source_shift | (l.sources != 0 ? lr_eoi : 0);
  const std::uint32_t source = l.active ? l.source : static_cast<std::uint32_t>(__builtin_ctz(l.sources));
  std::uint32_t lr = source << lr_source_shift;
  if ((l.sources >> source & 1) != 0) {
    lr |= lr_pending;
    l.sources = static_cast<std::uint8_t>(l.sources & ~(1u << source));
    l.lr_latch = true;
  }
  if (l.sources != 0) lr |= lr_eoi;
  return lr;
}

Vgic::Mask Vgic::sync(std::uint32_t vcpu) {
  VgicCpu& interface = cpus_[vcpu].interface;
  const std::uint32_t ended = interface.hcr >> hcr_eoicount_shift;
  if (ended == 0 && interface.used == 0) return 0;
  const LockGuard guard(lock_);
  interface.hcr &= (1u << hcr_eoicount_shift) - 1;
  Mask kick = end_unlisted(vcpu, ended);
  for (std::uint32_t slot = 0; slot < interface.used; ++slot) {
    unload(vcpu, slot);
    kick |= refresh(vcpu, cpus_[vcpu].loaded[slot]);
  }
  interface.used = 0;
  return kick & ~(1u << vcpu);
}

// Moves what the list register says back to its line. Pending because of a level alone is forgotten: the level is
// asked.
void Vgic::unload(std::uint32_t vcpu, std::uint32_t slot) {
  const std::uint32_t lr = cpus_[vcpu].interface.lr[slot];
  const std::uint32_t intid = cpus_[vcpu].loaded[slot];
  Line& l = line(vcpu, intid);
  const bool hw = (lr & lr_hw) != 0;
  const bool cancelled = l.drop_pending && (lr & lr_pending) != 0;
  const bool still_pending = (lr & lr_pending) != 0 && !cancelled;
  const bool stopped = l.drop_active && (lr & lr_active) != 0;
  l.active = ((lr & lr_active) != 0 && !stopped) || l.make_active;
  if (intid < sgis) {
    const std::uint32_t source = lr >> lr_source_shift & 7;
    l.source = l.active ? static_cast<std::uint8_t>(source) : nobody;
    if (still_pending) l.sources = static_cast<std::uint8_t>(l.sources | 1u << source);
  } else if (hw) {
    if (still_pending) l.raised = true;
    l.level = l.raised || l.active;
    if ((cancelled || stopped) && physical_ != nullptr) physical_->deactivate(vcpu, l.physical);
  } else if (still_pending && l.lr_latch) {
    l.latch = true;
  }
  l.loaded = l.lr_pending = l.lr_eoi = l.lr_latch = l.drop_pending = l.drop_active = l.make_active = false;
}

// `count` ends found no list register. Before unload(): a loaded line is not meant.
Vgic::Mask Vgic::end_unlisted(std::uint32_t vcpu, std::uint32_t count) {
  Mask kick = 0;
  for (; count > 0; --count) {
    std::uint32_t highest = lines;
    for (std::uint32_t w = 0; w < words; ++w) {
      for (std::uint32_t rest = cpus_[vcpu].work[w]; rest != 0; rest &= rest - 1) {
        const std::uint32_t intid = w * 32 + static_cast<std::uint32_t>(__builtin_ctz(rest));
        const Line& l = line(vcpu, intid);
        if (!l.active || l.loaded) continue;
        if (highest == lines || l.priority < line(vcpu, highest).priority) highest = intid;
      }
    }
    if (highest == lines) break;
    clear_active(vcpu, line(vcpu, highest));
    kick |= refresh(vcpu, highest);
  }
  return kick;
}

// 3.3: the highest pending interrupt of an enabled group, if it passes GICV_PMR and preempts what is active.
bool Vgic::deliverable(std::uint32_t vcpu) {
  if (idle(vcpu)) return false;
  const LockGuard guard(lock_);
  const Cpu& cpu = cpus_[vcpu];
  const std::uint32_t vmcr = cpu.interface.vmcr;
  const std::uint32_t apr = cpu.interface.apr;
  const std::uint32_t mask = vmcr >> 27 << 3;
  const std::uint32_t running = apr == 0 ? 0x100 : static_cast<std::uint32_t>(__builtin_ctz(apr)) << 3;
  for (std::uint32_t left = cpu.busy; left != 0; left &= left - 1) {
    const auto w = static_cast<std::uint32_t>(__builtin_ctz(left));
    for (std::uint32_t rest = cpu.work[w]; rest != 0; rest &= rest - 1) {
      const Line& l = line(vcpu, w * 32 + static_cast<std::uint32_t>(__builtin_ctz(rest)));
      if (l.active || !l.enabled || !pending(l) || !group_enabled(l)) continue;
      if ((vmcr >> (l.group1 ? 1 : 0) & 1) == 0) continue;
      const bool own_point = l.group1 && (vmcr >> 4 & 1) == 0;  // CBPR clear: GICV_ABPR, which counts from one
      const std::uint32_t group = own_point ? 0xffu << (vmcr >> 18 & 7) : 0xffu << ((vmcr >> 21 & 7) + 1);
      if (l.priority < mask && (l.priority & group) < running) return true;
    }
  }
  return false;
}

}  // namespace amphion::hyp
