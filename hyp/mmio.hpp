// SPDX-License-Identifier: Apache-2.0
// What a guest finds where its stage 2 has nothing: memory that is populated on touch, the distributor, the device
// window (the host's device model answers), or an abort.
#pragma once

#include "hyp/trap.hpp"
#include "hyp/vcpu.hpp"

namespace amphion::hyp {

Trap on_data_abort(Vcpu& vcpu, u32 hsr);
Trap on_prefetch_abort(Vcpu& vcpu, u32 hsr);

// The host's answer is in the request page: finishes the load or store. Home CPU; the vCPU may be loaded or not.
void complete_device_access(Vcpu& vcpu);

}  // namespace amphion::hyp
