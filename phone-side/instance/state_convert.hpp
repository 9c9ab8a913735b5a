// SPDX-License-Identifier: Apache-2.0
// Between the hypervisor's structures and the neutral saved state: vCPU registers, GIC and PL011, every field both
// ways. Thread safety: pure functions. The messages must have passed machine::validate().
#pragma once

#include "hyp/abi/amphion_hypercall.h"
#include "machine/state.pb.h"

namespace amphion::instance {

[[nodiscard]] machine::Vcpu to_state(const amphion_vcpu& vcpu);
[[nodiscard]] amphion_vcpu from_state(const machine::Vcpu& state);

[[nodiscard]] machine::Gic to_state(const amphion_gic& gic, std::uint32_t vcpus);
[[nodiscard]] amphion_gic from_state(const machine::Gic& state);

[[nodiscard]] machine::Pl011 to_state(const amphion_uart& uart);
[[nodiscard]] amphion_uart from_state(const machine::Pl011& state);

}  // namespace amphion::instance
