// SPDX-License-Identifier: Apache-2.0
// How long a CPU had nothing to run. Its loop says when that begins and ends; others read it at any time.
// Thread safety: begin() and end() from one CPU, in turns; ticks() from any.
#pragma once

#include <atomic>

#include "hyp/types.hpp"

namespace amphion::hyp {

class IdleTime {
 public:
  void begin(u64 now) { word_.store(word_.load(std::memory_order_relaxed) - 2 * now + 1, std::memory_order_relaxed); }
  void end(u64 now) { word_.store(word_.load(std::memory_order_relaxed) - 1 + 2 * now, std::memory_order_relaxed); }

  // The clock is read after the word: it cannot have begun later than that.
  [[nodiscard]] u64 ticks(u64 (*clock)()) const {
    const u64 word = word_.load(std::memory_order_acquire);
    return ((word & 1) != 0 ? word - 1 + 2 * clock() : word) / 2;
  }

 private:
  // Twice the ticks; while it idles odd, and less by twice the time at which that began: all of it is read at once.
  std::atomic<u64> word_{0};
};

}  // namespace amphion::hyp
