// SPDX-License-Identifier: Apache-2.0
// PSCI 1.0 (ARM DEN 0022) by HVC, for every instance.
#pragma once

#include "hyp/vcpu.hpp"

namespace amphion::hyp {

// False: r0 holds no PSCI function. Otherwise r0 holds the result (unless the call does not return).
[[nodiscard]] bool on_psci(Vcpu& vcpu);

}  // namespace amphion::hyp
