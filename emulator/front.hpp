// SPDX-License-Identifier: Apache-2.0
// The terminal front: what is typed goes to the emulated phone's keyboard, its screen is shown as text.
// Ctrl-] is the front's own key: then 1..9 presses Alt+F1..F9 (switch), q leaves, Ctrl-] is passed on.
// Thread safety: one thread; owns the terminal until it returns.
#pragma once

#include "emulator/board.hpp"
#include "emulator/screen.hpp"

namespace amphion::emulator {

// Returns when the user leaves or the phone ends. Throws std::runtime_error where there is no terminal.
void run_front(const Board& board, const Font& font);

}  // namespace amphion::emulator
