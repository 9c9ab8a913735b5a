// SPDX-License-Identifier: Apache-2.0
// The front of the emulated phone: its keys and its screen. Keys always go to the board's keyboard through QEMU; the
// picture is the one on the board's display, or, on a board of which QEMU shows none, the one that phoned shows its
// owner. Thread safety: one thread an object. Failures are std::runtime_error with one line that says what to do.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "emulator/board.hpp"
#include "emulator/keys.hpp"
#include "emulator/screen.hpp"

namespace amphion::emulator {

class Panel {
 public:
  virtual ~Panel() = default;
  // Presses and releases; waits before until the phone has taken what came earlier: QEMU drops what does not fit.
  virtual void press(const Combination& keys) = 0;
  [[nodiscard]] virtual Picture look() = 0;
  virtual void save(const std::string& file, const std::string& format) = 0;  // "png" or "ppm"
};

// Through the command socket, or the one that is kept for the terminal front.
[[nodiscard]] std::unique_ptr<Panel> open_panel(const Board& board, bool front = false);

// Throws before the first key if a character is on no key.
void type_text(Panel& panel, const std::string& text, std::chrono::milliseconds gap);

}  // namespace amphion::emulator
