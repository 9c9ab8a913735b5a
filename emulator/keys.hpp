// SPDX-License-Identifier: Apache-2.0
// Text and key names as presses of a US keyboard, in QEMU's key codes (QKeyCode).
// Thread safety: pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace amphion::emulator {

// Held down in this order, released in the opposite one. {"shift", "a"} is a capital A.
using Combination = std::vector<std::string>;

// One combination a character; none where a US keyboard has no such key (only ASCII, newline, tab, backspace, escape).
[[nodiscard]] std::optional<Combination> combination_of(char character);

// "alt-f2", "ctrl-alt-delete", "ret", "a": names joined by '-'; none if a name is empty or has strange characters.
[[nodiscard]] std::optional<Combination> parse_combination(std::string_view text);

// What a terminal in raw mode sends: characters, control characters, arrows, F keys, Alt+key. Consumes from the front
// of `bytes` what it could decide; an escape sequence that is not complete stays.
[[nodiscard]] std::vector<Combination> take_terminal_keys(std::string& bytes);

}  // namespace amphion::emulator
