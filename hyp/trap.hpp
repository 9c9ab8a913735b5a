// SPDX-License-Identifier: Apache-2.0
// Traps of the loaded vCPU: a table by exception class (HSR.EC), three outcomes. What the guest must not do goes back
// to it as an exception of its own.
#pragma once

#include "hyp/vcpu.hpp"

namespace amphion::hyp {

enum class Trap {
  handled,    // go on at the vCPU's pc
  not_mine,   // nothing knows this: the guest gets an undefined instruction
  forbidden,  // known and refused: the guest has been, or gets, an exception
};

void handle_trap(Vcpu& vcpu);

// Exceptions for the loaded vCPU, as hardware would take them (DDI 0406C, B1.9).
void inject_undefined(Vcpu& vcpu);
void inject_data_abort(Vcpu& vcpu, u32 address);
void inject_prefetch_abort(Vcpu& vcpu, u32 address);

}  // namespace amphion::hyp
