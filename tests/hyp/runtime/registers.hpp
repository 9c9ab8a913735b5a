// SPDX-License-Identifier: Apache-2.0
// All registers of a vCPU, filled with values of one's own and checked after a sleep: what others do meanwhile must not
// change any of them. Interrupts are masked; the vCPU's virtual timer ends the sleep.
#pragma once

#include "hyp/types.hpp"

namespace amphion::lab {

// `seed` tells vCPUs and rounds apart. While they are loaded, r0 is stored to `address`; the sleep lasts `sleep_us`.
void check_registers_held(hyp::u32 seed, hyp::u32 address, hyp::u32 sleep_us);

}  // namespace amphion::lab
