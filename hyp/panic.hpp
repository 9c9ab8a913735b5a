// SPDX-License-Identifier: Apache-2.0
// The end of a hypervisor that has found a bug of its own: last words to the console and the log, then the board is
// reset, and the next run hands the log to the host instance. Built with AMPHION_HALT_ON_PANIC it stays, for a
// debugger.
#pragma once

namespace amphion::hyp {

// From here on a panic resets the board. Before (the bundle is damaged, say) the next run would end in the same way.
void reset_on_panic();

// Takes no lock. Thread safety: the first CPU speaks, others stop.
[[noreturn]] void panic(const char* reason);

}  // namespace amphion::hyp
