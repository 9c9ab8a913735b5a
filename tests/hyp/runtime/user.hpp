// SPDX-License-Identifier: Apache-2.0
// A few instructions in user mode, on the same stack.
#pragma once

namespace amphion::lab {

// `action` takes no registers along (a lambda without captures) and comes back by SVC, which runtime/exception.cpp
// knows.
template <typename Action>
void as_user(Action) {
  void (*const function)() = [] { Action{}(); };
  __asm__ volatile(
      "mov r5, sp\n"
      "cps #0x10\n"
      "sub sp, r5, #1024\n"
      "blx %0\n"
      "svc #0\n" ::"r"(function)
      : "r0", "r1", "r2", "r3", "r5", "r12", "lr", "cc", "memory");
}

}  // namespace amphion::lab
