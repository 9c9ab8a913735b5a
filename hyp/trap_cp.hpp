// SPDX-License-Identifier: Apache-2.0
// Coprocessor accesses that trap: the physical timer, ACTLR, debug, performance monitors, implementation defined ones.
#pragma once

#include "hyp/trap.hpp"

namespace amphion::hyp {

Trap on_cp15_32(Vcpu& vcpu, u32 hsr);
Trap on_cp15_64(Vcpu& vcpu, u32 hsr);
Trap on_cp14_32(Vcpu& vcpu, u32 hsr);
Trap on_cp14_64(Vcpu& vcpu, u32 hsr);

}  // namespace amphion::hyp
