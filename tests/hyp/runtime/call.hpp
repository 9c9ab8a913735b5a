// SPDX-License-Identifier: Apache-2.0
// Calls by HVC: PSCI, and whatever else a test tries.
#pragma once

#include "hyp/types.hpp"

namespace amphion::lab {

using hyp::u32;

struct Answer {
  u32 value;   // r0
  u32 second;  // r1
};

inline Answer call(u32 function, u32 a = 0, u32 b = 0, u32 c = 0) {
  register u32 r0 __asm__("r0") = function;
  register u32 r1 __asm__("r1") = a;
  register u32 r2 __asm__("r2") = b;
  register u32 r3 __asm__("r3") = c;
  __asm__ volatile(".arch_extension virt\n hvc #0" : "+r"(r0), "+r"(r1), "+r"(r2), "+r"(r3)::"memory");
  return {r0, r1};
}

namespace psci {
inline constexpr u32 version = 0x8400'0000, cpu_suspend = 0x8400'0001, cpu_off = 0x8400'0002, cpu_on = 0x8400'0003,
                     affinity_info = 0x8400'0004, migrate = 0x8400'0005, migrate_info_type = 0x8400'0006,
                     system_off = 0x8400'0008, system_reset = 0x8400'0009, features = 0x8400'000a;
inline constexpr u32 success = 0, not_supported = u32(-1), invalid_parameters = u32(-2), denied = u32(-3),
                     already_on = u32(-4), on_pending = u32(-5), invalid_address = u32(-9);
inline constexpr u32 is_on = 0, is_off = 1, is_on_pending = 2;
}  // namespace psci

}  // namespace amphion::lab
