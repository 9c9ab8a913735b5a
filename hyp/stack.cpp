// SPDX-License-Identifier: Apache-2.0
// How deep the stacks have been used; see stack.h.
#include "hyp/stack.h"

extern "C" const amphion::hyp::u32 hyp_stacks[];

namespace amphion::hyp {

u32 deepest_stack_bytes() {
  constexpr u32 words = stack_bytes / sizeof(u32);
  u32 untouched = words;
  for (u32 cpu = 0; cpu < HYP_STACKS; ++cpu) {
    const volatile u32* end = hyp_stacks + cpu * words;
    u32 i = 0;
    while (i < untouched && end[i] == 0) ++i;
    untouched = i;
  }
  return (words - untouched) * sizeof(u32);
}

}  // namespace amphion::hyp
