// SPDX-License-Identifier: Apache-2.0
// Timing for benchmark guests: prints "value NAME TICKS TIMES", in ticks of the counter.
#pragma once

#include "tests/hyp/runtime/check.hpp"
#include "tests/hyp/runtime/vcpu.hpp"

namespace amphion::lab {

inline constexpr u32 warm_up = 100, times = 10'000;

inline void tell(const char* name, u64 ticks) { say("value ", name, " ", static_cast<u32>(ticks), " ", times); }

template <typename Action>
void measure(const char* name, Action action) {
  for (u32 i = 0; i < warm_up; ++i) action();
  const u64 begin = counter();
  for (u32 i = 0; i < times; ++i) action();
  tell(name, counter() - begin);
}

// Each time only until the moment that `action` returns.
template <typename Action>
void measure_until(const char* name, Action action) {
  for (u32 i = 0; i < warm_up; ++i) action();
  u64 ticks = 0;
  for (u32 i = 0; i < times; ++i) {
    const u64 begin = counter();
    ticks += action() - begin;
  }
  tell(name, ticks);
}

}  // namespace amphion::lab
