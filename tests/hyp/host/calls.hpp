// SPDX-License-Identifier: Apache-2.0
// The host's own test: what it may and may not ask of the hypervisor.
#pragma once

namespace amphion::lab {

// Ends the board at the first answer that is wrong. No instance exists before and after.
void check_calls();

}  // namespace amphion::lab
