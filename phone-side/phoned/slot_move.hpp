// SPDX-License-Identifier: Apache-2.0
// The right to move an instance: one at a time. Given back when this ends.
// Thread safety: belongs to the thread that moves.
#pragma once

#include "phone-side/phoned/slot.hpp"

namespace amphion::phoned {

class Slot::Move {
 public:
  explicit Move(Slot& slot) : slot_(slot) {}
  ~Move() { slot_.end_move(); }
  Move(const Move&) = delete;
  Move& operator=(const Move&) = delete;

 private:
  Slot& slot_;
};

}  // namespace amphion::phoned
