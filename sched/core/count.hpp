// SPDX-License-Identifier: MIT OR GPL-2.0-only
// A count of 64 bits that one CPU changes and others read at any time, also where 32 bits are written at once.
#pragma once

#include <atomic>
#include <cstdint>

namespace amphion::sched {

class Count {
 public:
  Count() = default;
  Count(const Count& other) { set(other); }
  Count& operator=(const Count& other) {
    set(other);
    return *this;
  }

  // The CPU whose count it is.
  Count& operator+=(uint64_t more) {
    set((uint64_t{high_.load(std::memory_order_relaxed)} << 32 | low_.load(std::memory_order_relaxed)) + more);
    return *this;
  }
  Count& operator++() { return *this += 1; }

  // Anyone.
  operator uint64_t() const {  // NOLINT(google-explicit-constructor): it is a number
    for (;;) {
      const uint32_t high = high_.load(std::memory_order_acquire), low = low_.load(std::memory_order_acquire);
      if (high != changing && high == high_.load(std::memory_order_relaxed)) return uint64_t{high} << 32 | low;
    }
  }

 private:
  static constexpr uint32_t changing = ~0u;

  void set(uint64_t value) {
    const auto high = static_cast<uint32_t>(value >> 32), low = static_cast<uint32_t>(value);
    if (high == high_.load(std::memory_order_relaxed)) return low_.store(low, std::memory_order_relaxed);
    high_.store(changing, std::memory_order_relaxed);
    low_.store(low, std::memory_order_release);
    high_.store(high, std::memory_order_release);
  }

  std::atomic<uint32_t> low_{0}, high_{0};
};

}  // namespace amphion::sched
