// SPDX-License-Identifier: Apache-2.0
// What a test guest says: lines on the serial port, and checks. The first check that fails prints itself and ends the
// guest; a guest that comes to its end prints how many passed. Thread safety: any vCPU may check; one prints at a time.
#pragma once

#include "hyp/types.hpp"

namespace amphion::lab {

using hyp::u32;
using hyp::u64;

void print(char c);
void print(const char* words);
void print(u32 number);
void print_hex(u32 number);

template <typename... Parts>
void say(Parts... parts) {
  (print(parts), ...);
  print("\n");
}

struct Place {
  const char* file;
  u32 line;
};
[[noreturn]] void fail(Place place, const char* words);
void check(bool passed, Place place, const char* words);
void check_equal(u64 seen, u64 wanted, Place place, const char* words);

// Ends this instance (PSCI SYSTEM_OFF), with its verdict.
[[noreturn]] void pass();
[[noreturn]] void power_off();

#define PLACE \
  ::amphion::lab::Place { __FILE_NAME__, __LINE__ }
#define CHECK(condition) ::amphion::lab::check((condition), PLACE, #condition)
#define CHECK_EQUAL(seen, wanted) \
  ::amphion::lab::check_equal(::amphion::hyp::u64(seen), ::amphion::hyp::u64(wanted), PLACE, #seen " == " #wanted)
#define FAIL(words) ::amphion::lab::fail(PLACE, words)

}  // namespace amphion::lab

void guest_main();  // what a test guest is: vCPU 0 runs it
