// SPDX-License-Identifier: Apache-2.0
// Shows one view after the other on the board's screen, about 15 times a second, and writes only what changed; and to
// those who look from elsewhere. A board without a screen draws only while somebody looks.
// Thread safety: start/stop by the owner; look() from any thread; the callbacks come from this object's thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "phone-side/phoned/board_screen.hpp"

namespace amphion::phoned {

class Display {
 public:
  // Draws what is to be shown now, picture_pixels; or returns lines of text that are to be shown instead.
  using Draw = std::function<std::vector<std::string>(std::span<std::uint16_t> picture)>;

  // `rest`: nobody looks any more, until draw is called again.
  Display(Draw draw, std::function<void()> rest);
  ~Display() { stop(); }

  void start();  // a board without a screen is said once, and nothing more
  void stop();
  void hurry();  // show now
  // What is shown, drawn after this call. None: stopped.
  [[nodiscard]] std::optional<Picture> look();

 private:
  using Clock = std::chrono::steady_clock;

  void run();
  void find_screen();
  void wait_unseen(std::unique_lock<std::mutex>& lock);
  [[nodiscard]] bool seen() const;
  void show();

  Draw draw_;
  std::function<void()> rest_;
  // The thread's own
  std::optional<BoardScreen> screen_;
  std::optional<Font> font_;
  Picture picture_;
  int tries_left_;
  Clock::time_point next_try_{};

  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable news_;
  bool stopping_ = false;
  bool hurry_ = false;
  std::uint64_t asked_ = 0;  // looks so far
  std::uint64_t drawn_ = 0;  // of them
  Clock::time_point look_until_{};
  Picture looked_at_;
  std::condition_variable drawn_news_;
};

}  // namespace amphion::phoned
