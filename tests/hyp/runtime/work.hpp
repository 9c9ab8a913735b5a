// SPDX-License-Identifier: Apache-2.0
// Work that is counted in instructions, and random amounts of it.
#pragma once

#include <array>

#include "tests/hyp/runtime/random.hpp"

namespace amphion::lab {

// In long blocks without branches, which an emulator is quick with; the last one is of 8.
inline void compute(hyp::u32 instructions) {
  __asm__ volatile(
      "subs %0, %0, #64\n bmi 2f\n"
      "1: .rept 62\n nop\n .endr\n subs %0, %0, #64\n bpl 1b\n"
      "2: adds %0, %0, #64\n"
      "3: subs %0, %0, #8\n .rept 6\n nop\n .endr\n bgt 3b"
      : "+r"(instructions)::"cc");
}

// Quantiles of the exponential distribution with mean 1024: -ln(u), by the middles of 256 equal parts.
inline constexpr std::array<hyp::u16, 256> exponential_quantiles = [] {
  std::array<hyp::u16, 256> table{};
  for (hyp::u32 i = 0; i < 256; ++i) {
    table[i] = static_cast<hyp::u16>(-1024 * __builtin_log((i + 0.5) / 256) + 0.5);
  }
  return table;
}();

inline hyp::u32 exponential(Random& random, hyp::u32 mean) {
  return static_cast<hyp::u32>(hyp::u64{mean} * exponential_quantiles[random() >> 24] >> 10);
}

}  // namespace amphion::lab
