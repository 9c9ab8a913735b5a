// SPDX-License-Identifier: Apache-2.0
// CP15 maintenance; see maintenance.hpp. All broadcast in the inner shareable domain (DDI 0406C, B4.2).
#include "hyp/maintenance.hpp"

#include <bit>

#include "hyp/sysreg.hpp"
#include "hyp/types.hpp"

namespace amphion::hyp {

// Table walks are cacheable and coherent (VTCR): a barrier is enough.
void ArmMaintenance::publish(const void*, std::uint32_t) { dsb(); }

// ARMv7 has no invalidation by intermediate address: the instance's entries go as a whole.
void ArmMaintenance::invalidate_ipa(Vmid vmid, Ipa) { invalidate_vmid(vmid); }

// In HYP mode TLBIALLIS acts on the VMID that stands in VTTBR. Guest translations cannot be walked meanwhile.
void ArmMaintenance::invalidate_vmid(Vmid vmid) {
  const u64 current = Vttbr::read();
  dsb();
  Vttbr::write(u64{vmid} << 48);
  isb();
  Tlbiallis::write(0);
  dsb();
  isb();
  Vttbr::write(current);
  isb();
}

void ArmMaintenance::clean_invalidate(Phys start, std::uint32_t bytes) {
  hyp::clean_invalidate(static_cast<u32>(start.value()), bytes);
}

void ArmMaintenance::invalidate_instructions() {
  Icialluis::write(0);
  dsb();
  isb();
}

void invalidate_own_tlb() {
  Tlbiall::write(0);
  dsb();
  isb();
}

// CCSIDR (B4.1.19) describes the cache; way and set stand in DCCISW's operand as B4.2.1 says.
void clean_invalidate_own_cache() {
  dsb();  // set/way operations know no address: what was stored must be in the cache before them
  const u32 selected = Csselr::read();
  Csselr::write(0);
  isb();
  const u32 ccsidr = Ccsidr::read();
  Csselr::write(selected);
  const u32 line_log2 = (ccsidr & 7) + 4, ways = (ccsidr >> 3 & 0x3ff) + 1, sets = (ccsidr >> 13 & 0x7fff) + 1;
  const u32 way_shift = ways == 1 ? 0 : static_cast<u32>(std::countl_zero(ways - 1));
  for (u32 way = 0; way < ways; ++way) {
    for (u32 set = 0; set < sets; ++set) Dccisw::write(way << way_shift | set << line_log2);
  }
  dsb();
}

}  // namespace amphion::hyp
