// SPDX-License-Identifier: Apache-2.0
// The hypervisor's console: whole lines to the board's UART, prefixed "amphion: ". The host instance drives the same
// UART afterwards, so lines are few: boot, and what an operator must know.
// Thread safety: a line is written under one lock.
#pragma once

#include "hyp/types.hpp"

namespace amphion::hyp {

class Line {
 public:
  Line();
  ~Line();
  Line(const Line&) = delete;
  Line& operator=(const Line&) = delete;

  Line& operator<<(const char* words);
  Line& operator<<(u32 number);
};

// Prints the reason and stops this CPU for good, without taking a lock. For the hypervisor's own bugs only.
[[noreturn]] void panic(const char* reason);

}  // namespace amphion::hyp
