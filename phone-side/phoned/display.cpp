// SPDX-License-Identifier: Apache-2.0
// The loop of the screen; see display.hpp.
#include "phone-side/phoned/display.hpp"

#include <spdlog/spdlog.h>

#include <optional>

namespace amphion::phoned {
namespace {

constexpr std::chrono::milliseconds interval{66};
constexpr std::chrono::milliseconds retry{1000};
constexpr int tries = 10;  // the driver may come up after us

}  // namespace

void Display::start() {
  thread_ = std::thread([this] { run(); });
}

void Display::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  news_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Display::hurry() {
  {
    const std::lock_guard lock(mutex_);
    hurry_ = true;
  }
  news_.notify_all();
}

void Display::run() {
  std::optional<BoardScreen> screen;
  std::unique_lock lock(mutex_);
  for (int tried = 0; !stopping_ && !screen; ++tried) {
    try {
      screen.emplace("/dev/fb0", "/dev/tty1");
    } catch (const std::exception& error) {
      if (tried == tries) {
        spdlog::warn("no screen: {}", error.what());
        return;
      }
      news_.wait_for(lock, retry, [&] { return stopping_; });
    }
  }
  if (screen && !screen->font()) spdlog::warn("the kernel's console has no 8x16 font: notices stay blank");
  while (!stopping_) {
    hurry_ = false;
    lock.unlock();
    show(*screen);
    lock.lock();
    news_.wait_for(lock, interval, [&] { return stopping_ || hurry_; });
  }
}

void Display::show(BoardScreen& screen) {
  const auto lines = draw_(picture_);
  if (!lines.empty()) picture_ = draw_text(screen.font().value_or(Font()), lines);
  screen.show(picture_);
}

}  // namespace amphion::phoned
