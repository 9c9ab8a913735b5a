// SPDX-License-Identifier: Apache-2.0
// Where a program without an operating system finds its devices: in the phone machine, which is also what a bare host
// sees on qemu-virt, or on the board that AMPHION_BOARD names.
#pragma once

#include "machine/phone.hpp"
#ifdef AMPHION_BOARD
#include "hyp/this_board.hpp"
#endif

namespace amphion::lab::platform {

#ifdef AMPHION_BOARD
inline constexpr std::uint32_t gicd = board::board.gic.distributor, gicc = board::board.gic.cpu_interface,
                               uart = board::board.uart.base;
#else
inline constexpr std::uint32_t gicd = machine::gicd.base, gicc = machine::gicc.base, uart = machine::pl011.base;
#endif

}  // namespace amphion::lab::platform
