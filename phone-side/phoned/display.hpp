// SPDX-License-Identifier: Apache-2.0
// Shows one view after the other on the board's screen, about 15 times a second, and writes only what changed.
// Thread safety: start/stop by the owner; the callback comes from this object's thread.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "phone-side/phoned/board_screen.hpp"

namespace amphion::phoned {

// What is to be shown now: a picture, or text. The picture must stay valid while `owner` lives.
struct Shown {
  std::shared_ptr<void> owner;
  std::span<const std::uint16_t> picture;  // empty: the lines
  std::vector<std::string> lines;
};

class Display {
 public:
  explicit Display(std::function<Shown()> what) : what_(std::move(what)) {}
  ~Display() { stop(); }

  void start();  // a board without a screen is said once, and nothing more
  void stop();
  void hurry();  // show now

 private:
  void run();
  void show(BoardScreen& screen);

  std::function<Shown()> what_;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable news_;
  bool stopping_ = false;
  bool hurry_ = false;
};

}  // namespace amphion::phoned
