// SPDX-License-Identifier: Apache-2.0
// The board that this image is for: hyp/CMakeLists.txt builds one image a board and names it in AMPHION_BOARD.
#pragma once

#include "board/boards.hpp"

namespace amphion::board {

inline constexpr const hyp::Board& board = AMPHION_BOARD;

}  // namespace amphion::board
