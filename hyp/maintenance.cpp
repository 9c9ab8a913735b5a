// SPDX-License-Identifier: Apache-2.0
// CP15 maintenance; see maintenance.hpp. All broadcast in the inner shareable domain (DDI 0406C, B4.2).
#include "hyp/maintenance.hpp"

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

}  // namespace amphion::hyp
