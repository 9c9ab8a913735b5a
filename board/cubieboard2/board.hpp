// SPDX-License-Identifier: Apache-2.0
// Cubieboard2 (Allwinner A20): the product's board.
#pragma once

#include "board/allwinner/board.hpp"

namespace amphion::board {

// U-Boot's CPU_ON never refuses: a number that the A20 does not have would reset one that it has.
inline constexpr hyp::Board cubieboard2 = allwinner(
    "cubieboard2", 2, {{{0x01c2'0c94, 3}, {0x01c2'0c90, watchdog_restart}, {}}});  // mode: enabled, resets; control

}  // namespace amphion::board
