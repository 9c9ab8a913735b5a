// SPDX-License-Identifier: Apache-2.0
// Timing for benchmark guests: prints "value NAME TICKS TIMES", in ticks of the counter.
#pragma once

#include "tests/hyp/runtime/check.hpp"
#include "tests/hyp/runtime/vcpu.hpp"

namespace amphion::lab {

template <typename Action>
void measure(const char* name, Action action) {
  constexpr u32 warm_up = 100, times = 10'000;
  for (u32 i = 0; i < warm_up; ++i) action();
  const u64 begin = counter();
  for (u32 i = 0; i < times; ++i) action();
  say("value ", name, " ", static_cast<u32>(counter() - begin), " ", times);
}

}  // namespace amphion::lab
