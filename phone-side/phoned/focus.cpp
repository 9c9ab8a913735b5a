// SPDX-License-Identifier: Apache-2.0
// The focus state machine; see focus.hpp.
#include "phone-side/phoned/focus.hpp"

#include <linux/input-event-codes.h>

#include <utility>

namespace amphion::phoned {
namespace {

// F1..F10 lie together, F11 and F12 apart. -1: not a function key.
int function_key(std::uint16_t code) {
  if (code >= KEY_F1 && code <= KEY_F10) return code - KEY_F1;
  if (code == KEY_F11 || code == KEY_F12) return 10 + code - KEY_F11;
  return -1;
}

}  // namespace

std::vector<Delivery> Focus::frame(const Frame& in) {
  std::vector<Delivery> out;
  for (const KeyEvent& event : in) {
    if (event.type != EV_KEY || event.code >= keys || event.value < 0 || event.value > 1) continue;
    if (event.code == KEY_POWER) continue;
    key(event.code, event.value == 1, out);
  }
  flush(out);
  return out;
}

std::vector<Delivery> Focus::switch_to(std::size_t instance) {
  std::vector<Delivery> out;
  change(instance, out);
  return out;
}

std::vector<Delivery> Focus::release_all() {
  std::vector<Delivery> out;
  for (std::uint16_t code = 0; code < keys; ++code) {
    if (pressed_[code]) pending_.push_back({EV_KEY, code, 0});
  }
  pressed_.reset();
  held_.reset();
  flush(out);
  return out;
}

void Focus::key(std::uint16_t code, bool down, std::vector<Delivery>& out) {
  if (down) {
    held_.set(code);
    if (combination(code, out) || pressed_[code]) return;
    pressed_.set(code);
  } else {
    held_.reset(code);
    if (!pressed_[code]) return;
    pressed_.reset(code);
  }
  pending_.push_back({EV_KEY, code, down ? 1 : 0});
}

bool Focus::combination(std::uint16_t code, std::vector<Delivery>& out) {
  const bool alt = held_[KEY_LEFTALT] || held_[KEY_RIGHTALT];
  const bool super = held_[KEY_LEFTMETA] || held_[KEY_RIGHTMETA];
  const int number = function_key(code);
  if (alt && number >= 0 && present_[static_cast<std::size_t>(number)]) {
    change(static_cast<std::size_t>(number), out);
    return true;
  }
  if (super && code == KEY_TAB) {
    change(next(), out);
    return true;
  }
  return false;
}

void Focus::change(std::size_t instance, std::vector<Delivery>& out) {
  if (instance == focused_ || instance >= present_.size() || !present_[instance]) return;
  for (std::uint16_t code = 0; code < keys; ++code) {
    if (pressed_[code]) pending_.push_back({EV_KEY, code, 0});
  }
  pressed_.reset();
  flush(out);
  focused_ = instance;
}

void Focus::set_present(std::size_t instance, bool present) {
  present_.set(instance, present);
  if (instance == focused_) pressed_.reset();  // whoever comes there has seen nothing pressed
  if (present_[focused_]) return;
  pressed_.reset();
  focused_ = next();
}

// The focused one itself if there is no other.
std::size_t Focus::next() const {
  for (std::size_t step = 1; step < present_.size(); ++step) {
    const std::size_t other = (focused_ + step) % present_.size();
    if (present_[other]) return other;
  }
  return focused_;
}

void Focus::flush(std::vector<Delivery>& out) {
  if (pending_.empty()) return;
  pending_.push_back({EV_SYN, SYN_REPORT, 0});
  out.push_back({focused_, std::exchange(pending_, {})});
}

}  // namespace amphion::phoned
