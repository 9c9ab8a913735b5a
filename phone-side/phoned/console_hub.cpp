// SPDX-License-Identifier: Apache-2.0
// Buffers between a console and its viewers; see console_hub.hpp.
#include "phone-side/phoned/console_hub.hpp"

#include <algorithm>

#include "phone-side/phoned/control_protocol.hpp"

namespace amphion::phoned {
namespace {

constexpr std::size_t buffer_bytes = 256 * 1024;
constexpr std::string_view dropped = "\r\n[output dropped]\r\n";

}  // namespace

std::optional<std::string> ConsoleView::next() {
  std::unique_lock lock(mutex_);
  news_.wait(lock, [&] { return ended_ || !waiting_.empty(); });
  if (waiting_.empty()) return std::nullopt;
  std::string part = waiting_.substr(0, max_console_bytes);
  waiting_.erase(0, part.size());
  return part;
}

void ConsoleView::put(std::string_view bytes) {
  const std::lock_guard lock(mutex_);
  if (waiting_.size() + bytes.size() > buffer_bytes) {
    waiting_ = dropped;
    bytes = bytes.substr(bytes.size() - std::min(bytes.size(), max_console_bytes));
  }
  waiting_ += bytes;
  news_.notify_one();
}

void ConsoleView::end(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  if (!ended_) reason_ = reason;
  ended_ = true;
  news_.notify_all();
}

std::string ConsoleView::reason() const {
  const std::lock_guard lock(mutex_);
  return reason_;
}

std::shared_ptr<ConsoleView> ConsoleHub::join() {
  const std::lock_guard lock(mutex_);
  auto view = std::make_shared<ConsoleView>();
  views_.remove_if([](const auto& one) { return one.expired(); });
  views_.push_back(view);
  if (!tail_.empty()) view->put(tail_);
  return view;
}

void ConsoleHub::put(std::string_view bytes) {
  const std::lock_guard lock(mutex_);
  tail_ += bytes;
  if (tail_.size() > tail_bytes_) tail_.erase(0, tail_.size() - tail_bytes_);
  for (const auto& one : views_) {
    if (const auto view = one.lock()) view->put(bytes);
  }
}

void ConsoleHub::end_all(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  for (const auto& one : views_) {
    if (const auto view = one.lock()) view->end(reason);
  }
  views_.clear();
}

bool ConsoleHub::watched() const {
  const std::lock_guard lock(mutex_);
  return std::any_of(views_.begin(), views_.end(), [](const auto& one) { return !one.expired(); });
}

}  // namespace amphion::phoned
