// SPDX-License-Identifier: Apache-2.0
// One vCPU between the neutral form and QEMU's sections `cpu` and `cpu_common`.
// QEMU keeps the registers of the current mode apart from the banks, and most system registers under several names
// (secure and non-secure 32-bit forms, AArch64 form); all aliases are written alike, or QEMU's check after loading
// fails. Thread safety: none; values. Errors: StreamError.
#pragma once

#include "cloud-side/qemu/stream.hpp"
#include "machine/state.pb.h"

namespace amphion::qemu {

[[nodiscard]] machine::Vcpu vcpu_to_neutral(const Section& cpu);

struct CpuClock {
  std::uint64_t counter;    // ticks
  std::uint64_t period_ns;  // of one tick
};

// `irq` and `fiq`: what the GIC presents to this vCPU, number `index`.
void vcpu_from_neutral(const machine::Vcpu& vcpu, std::uint32_t index, const CpuClock& clock, bool irq, bool fiq,
                       Stream& stream);

}  // namespace amphion::qemu
