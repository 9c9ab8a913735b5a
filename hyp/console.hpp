// SPDX-License-Identifier: Apache-2.0
// The hypervisor's console: whole lines to the board's UART, prefixed "amphion: ", and into the log that survives a
// warm reset (run_log.hpp). The host instance drives the same UART afterwards, so lines are few: boot, and what an
// operator must know. Thread safety: a line is written under one lock; put() and what follows it is without, for
// panic() alone.
#pragma once

#include "hyp/run_log.hpp"
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

// The host instance's words, for the log only.
void keep(const char* text, u32 bytes);
void keep_end_in_order();
[[nodiscard]] RunLog& run_log();

void put(const char* words);
void put_hex(u32 value);
void put_decimal(u32 value);

}  // namespace amphion::hyp
