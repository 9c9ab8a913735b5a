// SPDX-License-Identifier: Apache-2.0
// All boards. The hypervisor is built for one of them (hyp/this_board.hpp); the PC's tools choose by name.
#pragma once

#include <array>

#include "board/cubieboard2/board.hpp"
#include "board/orangepi-pc/board.hpp"
#include "board/qemu-virt/board.hpp"

namespace amphion::board {

inline constexpr std::array all{&qemu_virt, &orangepi_pc, &cubieboard2};

}  // namespace amphion::board
