// SPDX-License-Identifier: Apache-2.0
// See panic.hpp.
#include "hyp/panic.hpp"

#include <atomic>

#include "hyp/console.hpp"
#include "hyp/cpu.hpp"
#include "hyp/stack.h"
#include "hyp/sysreg.hpp"
#include "hyp/this_board.hpp"

extern "C" {
extern char _start[];
extern char __text_end[];
extern const char hyp_stacks[];
amphion::hyp::u32 firmware_call(amphion::hyp::u32 function, amphion::hyp::u32 a, amphion::hyp::u32 b,
                                amphion::hyp::u32 c);
}

namespace amphion::hyp {
namespace {

#ifdef AMPHION_HALT_ON_PANIC
constexpr bool may_reset = false;
#else
constexpr bool may_reset = true;
#endif
constexpr u32 nobody = ~0u;
constexpr u32 most_callers = 16;

constinit std::atomic<bool> host_runs{false};
constinit std::atomic<u32> speaker{nobody};

u32 this_number() { return Mpidr::read() & 0xff; }

[[noreturn]] void stop() {
  for (;;) wait_for_interrupt();
}

[[noreturn]] void end() {
  if (may_reset && host_runs.load()) {
    if (board::board.psci_system_reset != Board::no_function) firmware_call(board::board.psci_system_reset, 0, 0, 0);
    for (const Board::Write& one : board::board.reset) {
      if (one.address != 0) write32(one.address, one.value);
    }
  }
  stop();
}

// Who panics while it speaks (its words are the fault) ends without more of them.
void take_the_floor() {
  u32 other = nobody;
  if (speaker.compare_exchange_strong(other, this_number())) return;
  if (other == this_number()) end();
  stop();
}

u32 in_text(u32 address) {
  return address % 4 == 0 && address > reinterpret_cast<u32>(&_start) && address < reinterpret_cast<u32>(&__text_end);
}

// ARM's BL, conditional or not, and BLX by register (DDI 0406C, A8.8.25 and A8.8.26).
bool is_call(u32 instruction) {
  return ((instruction & 0x0f00'0000) == 0x0b00'0000 && instruction < 0xf000'0000) ||
         (instruction & 0x0fff'fff0) == 0x012f'ff30;
}

// Every word of the stack behind which stands a call: callers, and perhaps some that have returned.
void put_callers(u32 stack) {
  const u32 end = reinterpret_cast<u32>(&hyp_stacks) + (this_number() + 1) * stack_bytes;
  if (this_number() >= HYP_STACKS || stack % 4 != 0 || stack >= end || end - stack > stack_bytes) return;
  put("amphion: called from");
  for (u32 found = 0; stack < end && found < most_callers; stack += 4) {
    const u32 word = read32(stack);
    if (!in_text(word) || !is_call(read32(word - 4))) continue;
    put(" ");
    put_hex(word);
    ++found;
  }
  put("\r\n");
}

[[noreturn]] void speak(const char* reason, u32 stack) {
  put("\r\namphion: panic on CPU ");
  put_decimal(this_number());
  put(": ");
  put(reason);
  if (deepest_stack_bytes() == stack_bytes) put(" (a stack has overflowed)");
  put("\r\n");
  put_callers(stack);
  end();
}

}  // namespace

void reset_on_panic() { host_runs.store(true); }

void panic(const char* reason) {
  take_the_floor();
  speak(reason, reinterpret_cast<u32>(__builtin_frame_address(0)));
}

// From vectors.S: an exception inside the hypervisor. Registers r0..r12 as they were, then lr.
extern "C" [[noreturn]] void hyp_exception(const char* kind, const u32* registers) {
  take_the_floor();
  put("\r\namphion: ");
  put(kind);
  put(" inside the hypervisor: HSR ");
  put_hex(Hsr::read());
  put(" HDFAR ");
  put_hex(Hdfar::read());
  put(" HIFAR ");
  put_hex(Hifar::read());
  put(" ELR ");
  put_hex(ElrHyp::read());
  put(" LR ");
  put_hex(registers[13]);
  for (u32 i = 0; i < 13; ++i) {
    put(i % 6 == 0 ? "\r\namphion: r" : " r");
    put_decimal(i);
    put(" ");
    put_hex(registers[i]);
  }
  speak("see the registers above", reinterpret_cast<u32>(registers + 14));
}

}  // namespace amphion::hyp
