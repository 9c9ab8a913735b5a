// SPDX-License-Identifier: Apache-2.0
// Orange Pi PC (Allwinner H3): the Cubieboard2's stand-in, because QEMU emulates it (-M orangepi-pc).
#pragma once

#include "board/allwinner/board.hpp"

namespace amphion::board {

inline constexpr hyp::Board orangepi_pc = allwinner(
    "orangepi-pc", 4,
    {{{0x01c2'0cb4, 1}, {0x01c2'0cb8, 1}, {0x01c2'0cb0, watchdog_restart}}});  // config: resets; mode; control

}  // namespace amphion::board
