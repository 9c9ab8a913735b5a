// SPDX-License-Identifier: Apache-2.0
// One event of a keyboard as evdev names it, and a frame: events up to and including SYN_REPORT.
// Values only.
#pragma once

#include <cstdint>
#include <vector>

namespace amphion::phoned {

struct KeyEvent {
  std::uint16_t type;
  std::uint16_t code;
  std::int32_t value;

  friend bool operator==(const KeyEvent&, const KeyEvent&) = default;
};

using Frame = std::vector<KeyEvent>;

}  // namespace amphion::phoned
