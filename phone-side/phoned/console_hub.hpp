// SPDX-License-Identifier: Apache-2.0
// The console of an instance and those who look at it: output goes to all of them, through a bounded buffer each, so
// that a slow one holds nobody up (what does not fit is dropped, and said). Thread safety: all functions from any
// thread.
#pragma once

#include <condition_variable>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace amphion::phoned {

// One who looks. Ends when it is released.
class ConsoleView {
 public:
  // Waits for output; at most max_console_bytes. None: the console ended, `reason()` says why.
  [[nodiscard]] std::optional<std::string> next();
  void put(std::string_view bytes);
  void end(const std::string& reason);
  [[nodiscard]] std::string reason() const;

 private:
  mutable std::mutex mutex_;
  std::condition_variable news_;
  std::string waiting_;
  bool ended_ = false;
  std::string reason_;
};

class ConsoleHub {
 public:
  // The last `tail_bytes` of output are shown to one who joins.
  explicit ConsoleHub(std::size_t tail_bytes) : tail_bytes_(tail_bytes) {}

  [[nodiscard]] std::shared_ptr<ConsoleView> join();
  void put(std::string_view bytes);
  void end_all(const std::string& reason);
  [[nodiscard]] bool watched() const;

 private:
  std::size_t tail_bytes_;
  mutable std::mutex mutex_;
  std::string tail_;
  std::list<std::weak_ptr<ConsoleView>> views_;
};

}  // namespace amphion::phoned
