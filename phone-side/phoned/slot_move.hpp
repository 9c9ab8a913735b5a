// SPDX-License-Identifier: Apache-2.0
// The right to change an instance: one at a time. Given back when this ends.
// Thread safety: belongs to the thread that moves.
#pragma once

#include "phone-side/phoned/slot.hpp"

namespace amphion::phoned {

class Slot::Move {
 public:
  explicit Move(Slot& slot, SlotState before = SlotState::starting, std::string note = {})
      : slot_(slot), before_(before), note_(std::move(note)) {}
  ~Move() { slot_.end_move(); }
  Move(const Move&) = delete;
  Move& operator=(const Move&) = delete;

  [[nodiscard]] SlotState before() const { return before_; }
  // Nothing was changed: its state is what it was before.
  void undo() {
    const std::lock_guard lock(slot_.mutex_);
    slot_.state_ = before_;
    slot_.note_ = note_;
  }

 private:
  Slot& slot_;
  const SlotState before_;
  const std::string note_;
};

}  // namespace amphion::phoned
