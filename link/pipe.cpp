// SPDX-License-Identifier: Apache-2.0
// Two streams that are each other's other end, in memory (stream.hpp: make_pipe). For tests and fuzzers.
#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>

#include "link/stream.hpp"

namespace amphion::link {
namespace {

// One direction. Thread safety: all functions from any thread.
class Flow {
 public:
  explicit Flow(std::size_t capacity) : capacity_(capacity) {}

  Result<std::size_t> read(std::span<std::byte> into, Deadline deadline) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_until(lock, deadline, [&] { return closed_ || !bytes_.empty(); })) {
      return Error{ErrorCode::timeout, "nothing arrived in time"};
    }
    const std::size_t count = std::min(into.size(), bytes_.size());
    std::copy_n(bytes_.begin(), count, into.begin());
    bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(count));
    changed_.notify_all();
    return count;
  }

  Status write(std::span<const std::byte> from, Deadline deadline) {
    std::unique_lock lock(mutex_);
    while (!from.empty()) {
      if (!changed_.wait_until(lock, deadline, [&] { return closed_ || bytes_.size() < capacity_; })) {
        return {ErrorCode::timeout, "the other side takes nothing"};
      }
      if (closed_) return {ErrorCode::closed, "the connection has ended"};
      const std::size_t count = std::min(from.size(), capacity_ - bytes_.size());
      bytes_.insert(bytes_.end(), from.begin(), from.begin() + static_cast<std::ptrdiff_t>(count));
      from = from.subspan(count);
      changed_.notify_all();
    }
    return {};
  }

  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::byte> bytes_;
  std::size_t capacity_;
  bool closed_ = false;
};

class PipeEnd : public Stream {
 public:
  PipeEnd(std::shared_ptr<Flow> in_flow, std::shared_ptr<Flow> out_flow)
      : in_(std::move(in_flow)), out_(std::move(out_flow)) {}
  ~PipeEnd() override { end(); }

  Result<std::size_t> read(std::span<std::byte> into, Deadline deadline) override { return in_->read(into, deadline); }
  Status write(std::span<const std::byte> bytes, Deadline deadline) override {
    const std::lock_guard lock(write_mutex_);
    return out_->write(bytes, deadline);
  }
  void close() override { end(); }

 private:
  void end() {
    in_->close();
    out_->close();
  }
  std::shared_ptr<Flow> in_;
  std::shared_ptr<Flow> out_;
  std::mutex write_mutex_;
};

}  // namespace

std::pair<std::unique_ptr<Stream>, std::unique_ptr<Stream>> make_pipe(std::size_t capacity) {
  auto there = std::make_shared<Flow>(capacity);
  auto back = std::make_shared<Flow>(capacity);
  return {std::make_unique<PipeEnd>(back, there), std::make_unique<PipeEnd>(there, back)};
}

}  // namespace amphion::link
