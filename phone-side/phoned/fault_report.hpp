// SPDX-License-Identifier: Apache-2.0
// What phoned says when a fault of its own ends it: the signal, the address, and where the thread stood.
#pragma once

namespace amphion::phoned {

// From now on, for all threads. The report goes to standard error; the process ends by the signal as it would without.
void report_faults();

}  // namespace amphion::phoned
