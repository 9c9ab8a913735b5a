// SPDX-License-Identifier: Apache-2.0
// Who gets the keys: the state machine between the board's keyboards and the instances. Pure; knows no device.
// Alt+F1..Fn gives the focus to instance n, Super+Tab to the next one that there is; neither reaches an instance, nor
// does the power key, which is the phone's.
// Instances come and go, and keep their numbers. Of nobody there, the focus is of no use.
// Invariants: what an instance sees is balanced: a release only of a key that it saw pressed, and all of its pressed
// keys are released when it loses the focus. Each frame that it gets ends with SYN_REPORT and is not empty. Repeats
// (value 2) are dropped. Thread safety: none; the caller serialises.
#pragma once

#include <bitset>
#include <cstddef>
#include <vector>

#include "phone-side/phoned/key_event.hpp"

namespace amphion::phoned {

// What is to be done, in this order, after a frame or a command.
struct Delivery {
  std::size_t instance;
  Frame frame;
};

class Focus {
 public:
  static constexpr std::size_t most_instances = 12;  // as many as there are function keys

  explicit Focus(std::size_t instances) {
    for (std::size_t i = 0; i < instances; ++i) present_.set(i);
  }

  [[nodiscard]] std::size_t focused() const { return focused_; }

  // A frame of one keyboard, SYN_REPORT or not at its end.
  [[nodiscard]] std::vector<Delivery> frame(const Frame& in);

  // By command. `instance` < the number of instances.
  [[nodiscard]] std::vector<Delivery> switch_to(std::size_t instance);

  // An instance came or went; the focus of one that goes is the next one's.
  void set_present(std::size_t instance, bool present);

  // A keyboard went away: nobody will release its keys.
  [[nodiscard]] std::vector<Delivery> release_all();

 private:
  static constexpr std::size_t keys = 256;  // the keys of a keyboard; buttons begin above

  void key(std::uint16_t code, bool down, std::vector<Delivery>& out);
  [[nodiscard]] bool combination(std::uint16_t code, std::vector<Delivery>& out);
  void change(std::size_t instance, std::vector<Delivery>& out);
  void flush(std::vector<Delivery>& out);
  [[nodiscard]] std::size_t next() const;

  std::bitset<most_instances> present_;
  std::size_t focused_ = 0;
  std::bitset<keys> held_;     // on the board
  std::bitset<keys> pressed_;  // as the focused instance sees it
  Frame pending_;              // for the focused instance, of the frame at hand
};

}  // namespace amphion::phoned
