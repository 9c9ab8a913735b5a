/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CPUs' stacks, number 0 lowest. They lie in memory that start.S clears, so how deep one has been used is the
 * first word from its end that is not zero. Read by start.S and C++.
 */
#ifndef AMPHION_HYP_STACK_H
#define AMPHION_HYP_STACK_H

#define HYP_STACKS 4
#define HYP_STACK_SHIFT 13

#ifndef __ASSEMBLER__
#include "hyp/types.hpp"

namespace amphion::hyp {

inline constexpr u32 stack_bytes = 1u << HYP_STACK_SHIFT;

// Of the CPU that has used most, at most stack_bytes: then it has overflowed, or nearly so.
[[nodiscard]] u32 deepest_stack_bytes();

}  // namespace amphion::hyp
#endif

#endif
