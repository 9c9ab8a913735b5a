// SPDX-License-Identifier: Apache-2.0
// What a CPU does that has nothing to run: it scrubs what lies dirty in the pool, until an interrupt waits.
#pragma once

namespace amphion::hyp {

// With interrupts masked. True: one waits. False: nothing is dirty.
[[nodiscard]] bool scrub_until_interrupt();

}  // namespace amphion::hyp
