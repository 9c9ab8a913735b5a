// SPDX-License-Identifier: Apache-2.0
// The management calls of hyp/abi/amphion_hypercall.h, for the host instance only.
#pragma once

#include "hyp/vcpu.hpp"

namespace amphion::hyp {

// False: r0 holds no function of the table. Otherwise r0 (and r1) hold the result.
[[nodiscard]] bool on_hypercall(Vcpu& vcpu);

}  // namespace amphion::hyp
