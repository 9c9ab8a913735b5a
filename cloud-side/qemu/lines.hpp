// SPDX-License-Identifier: Apache-2.0
// The levels of interrupt lines, worked out from the devices that drive them. QEMU does not do this after loading: its
// GIC goes on with the levels of the stream until a device changes its mind. Thread safety: a pure function.
#pragma once

#include "machine/state.pb.h"

namespace amphion::qemu {

// The state's GIC with every line at the level that its device gives it: virtual and physical timers, PL011, virtio
// slots, PCIe INTx. A level that rises thereby is latched on an edge-triggered line. Lines without a device stay as
// they are.
[[nodiscard]] machine::Gic settle_lines(const machine::InstanceState& state);

}  // namespace amphion::qemu
