// SPDX-License-Identifier: Apache-2.0
// The scheduler of the machine: sched/core over the physical CPUs and the vCPUs of all instances, the host's too.
// Entity `id` is vCPU id % AMPHION_MAX_VCPUS of instance id / AMPHION_MAX_VCPUS. The host's vCPU n stays on CPU n,
// where its interrupts arrive.
// Thread safety: as sched/core says. Settings may be changed from any CPU.
#pragma once

#include "hyp/abi/amphion_hypercall.h"
#include "hyp/bundle.hpp"
#include "hyp/types.hpp"
#include "hyp/vcpu.hpp"
#include "sched/core/policy.hpp"

namespace amphion::hyp {

[[nodiscard]] sched::Scheduler& scheduler();
[[nodiscard]] Vcpu& vcpu_of(u32 entity);
// The physical CPU that owns the vCPU.
[[nodiscard]] u32 cpu_of(const Vcpu& vcpu);

// Boot: instances stand, CPUs are counted. `chosen` has been checked.
void init_scheduler(const BundleSched& chosen);

// What the owner may choose; false: out of bounds, and nothing is changed.
[[nodiscard]] bool set_scheduling(const amphion_sched& wanted);
[[nodiscard]] amphion_sched scheduling();  // with statistics of the CPUs and of the host's vCPUs
[[nodiscard]] amphion_sched_vcpu scheduling_of(const Vcpu& vcpu);

}  // namespace amphion::hyp
