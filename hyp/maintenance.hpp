// SPDX-License-Identifier: Apache-2.0
// The CPU's cache and TLB maintenance, as stage 2 asks for it (physical_memory.hpp).
#pragma once

#include "hyp/physical_memory.hpp"

namespace amphion::hyp {

class ArmMaintenance final : public Maintenance {
 public:
  void publish(const void* start, std::uint32_t bytes) override;
  void invalidate_ipa(Vmid vmid, Ipa address) override;
  void invalidate_vmid(Vmid vmid) override;
  void clean_invalidate(Phys start, std::uint32_t bytes) override;
  void invalidate_instructions() override;
};

// TLB entries of the VMID that stands in VTTBR, in this CPU only.
void invalidate_own_tlb();
// The first-level data cache of this CPU, by set and way: what a vCPU that leaves has left there.
void clean_invalidate_own_cache();

}  // namespace amphion::hyp
