// SPDX-License-Identifier: Apache-2.0
// The GIC between the neutral form and QEMU's section `arm_gic` (GICv2 without security extensions).
// Thread safety: none; values. Errors: StreamError.
#pragma once

#include "cloud-side/qemu/stream.hpp"
#include "machine/state.pb.h"

namespace amphion::qemu {

[[nodiscard]] machine::Gic gic_to_neutral(const Section& section, std::uint32_t vcpus);
void gic_from_neutral(const machine::Gic& gic, Section& section);

// What the CPU interface of one vCPU has to say, derived from the neutral form by GICv2's rules (IHI 0048B, 3.3
// and 3.4).
struct Presented {
  std::uint32_t highest_pending = 1023;  // INTID, or 1023: nothing of sufficient priority
  std::uint32_t running_priority = 0x100;
  bool irq = false;
  bool fiq = false;
};
[[nodiscard]] Presented present(const machine::Gic& gic, std::uint32_t cpu);

}  // namespace amphion::qemu
