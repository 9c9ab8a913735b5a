// SPDX-License-Identifier: Apache-2.0
// Shows one view after the other on the board's screen, about 15 times a second, and writes only what changed.
// Thread safety: start/stop by the owner; the callback comes from this object's thread.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "phone-side/phoned/board_screen.hpp"

namespace amphion::phoned {

class Display {
 public:
  // Draws what is to be shown now, picture_pixels; or returns lines of text that are to be shown instead.
  using Draw = std::function<std::vector<std::string>(std::span<std::uint16_t> picture)>;

  explicit Display(Draw draw) : draw_(std::move(draw)), picture_(picture_pixels) {}
  ~Display() { stop(); }

  void start();  // a board without a screen is said once, and nothing more
  void stop();
  void hurry();  // show now

 private:
  void run();
  void show(BoardScreen& screen);

  Draw draw_;
  Picture picture_;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable news_;
  bool stopping_ = false;
  bool hurry_ = false;
};

}  // namespace amphion::phoned
