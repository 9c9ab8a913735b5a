// SPDX-License-Identifier: Apache-2.0
// The loop of the screen; see display.hpp.
#include "phone-side/phoned/display.hpp"

#include <spdlog/spdlog.h>

namespace amphion::phoned {
namespace {

constexpr std::chrono::milliseconds interval{66};
constexpr std::chrono::milliseconds retry{1000};
constexpr int tries = 10;                     // the driver may come up after us
constexpr std::chrono::seconds attention{2};  // who has looked will soon look again
constexpr char font_file[] = "/usr/share/amphion/font-8x16";

}  // namespace

Display::Display(Draw draw, std::function<void()> rest)
    : draw_(std::move(draw)), rest_(std::move(rest)), picture_(picture_pixels), tries_left_(tries) {}

void Display::start() {
  thread_ = std::thread([this] { run(); });
}

void Display::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  news_.notify_all();
  drawn_news_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Display::hurry() {
  {
    const std::lock_guard lock(mutex_);
    hurry_ = true;
  }
  news_.notify_all();
}

std::optional<Picture> Display::look() {
  std::unique_lock lock(mutex_);
  const std::uint64_t wanted = ++asked_;
  look_until_ = Clock::now() + attention;
  hurry_ = true;
  news_.notify_all();
  drawn_news_.wait(lock, [&] { return stopping_ || drawn_ >= wanted; });
  if (drawn_ < wanted) return std::nullopt;
  return looked_at_;
}

bool Display::seen() const { return screen_ || asked_ != drawn_ || Clock::now() < look_until_; }

void Display::run() {
  font_ = read_font(font_file);
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    find_screen();
    if (!seen()) {
      wait_unseen(lock);
      continue;
    }
    hurry_ = false;
    const std::uint64_t serves = asked_;
    lock.unlock();
    show();
    lock.lock();
    if (drawn_ != serves) {
      looked_at_ = picture_;
      drawn_ = serves;
      drawn_news_.notify_all();
    }
    news_.wait_for(lock, interval, [&] { return stopping_ || hurry_; });
  }
}

void Display::find_screen() {
  if (screen_ || tries_left_ == 0 || Clock::now() < next_try_) return;
  --tries_left_;
  next_try_ = Clock::now() + retry;
  try {
    screen_.emplace("/dev/fb0", "/dev/tty1");
    if (screen_->font()) font_ = screen_->font();
    if (!font_) spdlog::warn("no 8x16 font: notices stay blank");
  } catch (const std::exception& error) {
    if (tries_left_ == 0) spdlog::warn("no screen: {}", error.what());
  }
}

void Display::wait_unseen(std::unique_lock<std::mutex>& lock) {
  lock.unlock();
  rest_();
  lock.lock();
  const auto news = [&] { return stopping_ || asked_ != drawn_; };
  if (tries_left_ == 0) {
    news_.wait(lock, news);
  } else {
    news_.wait_for(lock, retry, news);
  }
}

void Display::show() {
  const auto lines = draw_(picture_);
  if (!lines.empty()) picture_ = draw_text(font_.value_or(Font()), lines);
  if (screen_) screen_->show(picture_);
}

}  // namespace amphion::phoned
