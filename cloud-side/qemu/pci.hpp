// SPDX-License-Identifier: Apache-2.0
// QEMU's saved form of the machine's PCIe functions: `pci config` (configuration space) and `pci irq state` (four
// levels). Thread safety: none; values. Errors: StreamError.
#pragma once

#include "cloud-side/qemu/stream.hpp"
#include "machine/state.pb.h"

namespace amphion::qemu {

[[nodiscard]] machine::Pcie pcie_to_neutral(const Stream& stream);
// Only bits that a guest can write are taken from the state; the rest is the template's, as QEMU insists.
void pcie_from_neutral(const machine::Pcie& pcie, Stream& stream);

}  // namespace amphion::qemu
