// SPDX-License-Identifier: Apache-2.0
// The PL011 between the neutral form and QEMU's section `pl011`.
// Thread safety: none; values. Errors: StreamError.
#pragma once

#include "cloud-side/qemu/stream.hpp"
#include "machine/state.pb.h"

namespace amphion::qemu {

[[nodiscard]] machine::Pl011 uart_to_neutral(const Section& section);
void uart_from_neutral(const machine::Pl011& uart, Section& section);

}  // namespace amphion::qemu
