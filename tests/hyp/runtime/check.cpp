// SPDX-License-Identifier: Apache-2.0
// Printing and verdicts; see check.hpp.
#include "tests/hyp/runtime/check.hpp"

#include "hyp/spinlock.hpp"
#include "tests/hyp/runtime/call.hpp"
#include "tests/hyp/runtime/platform.hpp"

namespace amphion::lab {
namespace {

constinit u32 passed = 0;
constinit hyp::SpinLock printing;

[[noreturn]] void complain(Place place, const char* words, bool values, u64 seen, u64 wanted) {
  printing.lock();  // for ever: nobody prints behind a failure
  say("FAILED ", place.file, ":", place.line, ": ", words);
  if (values) {
    print("  seen ");
    print_hex(static_cast<u32>(seen >> 32)), print_hex(static_cast<u32>(seen));
    print(", wanted ");
    print_hex(static_cast<u32>(wanted >> 32)), print_hex(static_cast<u32>(wanted));
    print("\n");
  }
  power_off();
}

}  // namespace

void print(char c) { hyp::write32(platform::uart, static_cast<hyp::u8>(c)); }
void print(const char* words) {
  for (; *words != '\0'; ++words) print(*words);
}
void print(u32 number) {
  if (number >= 10) print(number / 10);
  print(static_cast<char>('0' + number % 10));
}
void print_hex(u32 number) {
  for (int shift = 28; shift >= 0; shift -= 4) print("0123456789abcdef"[number >> shift & 15]);
}

void fail(Place place, const char* words) { complain(place, words, false, 0, 0); }

void check(bool good, Place place, const char* words) {
  if (!good) complain(place, words, false, 0, 0);
  __atomic_fetch_add(&passed, 1, __ATOMIC_RELAXED);
}

void check_equal(u64 seen, u64 wanted, Place place, const char* words) {
  if (seen != wanted) complain(place, words, true, seen, wanted);
  __atomic_fetch_add(&passed, 1, __ATOMIC_RELAXED);
}

void pass() {
  printing.lock();
  say("passed ", passed, " checks");
  power_off();
}

void power_off() {
  for (;;) call(psci::system_off);
}

}  // namespace amphion::lab

// What the runtime that is shared with the hypervisor calls at a bug.
namespace amphion::hyp {
[[noreturn]] void panic(const char* reason) { lab::fail({"runtime", 0}, reason); }
}  // namespace amphion::hyp
