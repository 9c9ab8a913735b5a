// SPDX-License-Identifier: Apache-2.0
// UART transmit, polled; see console.hpp.
#include "hyp/console.hpp"

#include "hyp/spinlock.hpp"
#include "hyp/this_board.hpp"

namespace amphion::hyp {
namespace {

using Kind = Board::Uart::Kind;
constexpr u32 uart = board::board.uart.base;

template <Kind>
void send(char c);

// ARM DDI 0183, section 3.2
template <>
[[maybe_unused]] void send<Kind::pl011>(char c) {
  constexpr u32 dr = uart + 0x00, fr = uart + 0x18, cr = uart + 0x30;
  constexpr u32 fr_transmit_full = 1u << 5;
  constexpr u32 cr_transmit_on = (1u << 0) | (1u << 8);
  write32(cr, read32(cr) | cr_transmit_on);
  while ((read32(fr) & fr_transmit_full) != 0) {
  }
  write32(dr, static_cast<u8>(c));
}

// DesignWare's APB UART: a 16550 whose registers are words. A20 user manual, section UART.
template <>
[[maybe_unused]] void send<Kind::designware>(char c) {
  constexpr u32 thr = uart + 0x00, lsr = uart + 0x14;
  constexpr u32 lsr_transmit_empty = 1u << 5;
  while ((read32(lsr) & lsr_transmit_empty) == 0) {
  }
  write32(thr, static_cast<u8>(c));
}

constinit SpinLock console_lock;

}  // namespace

RunLog& run_log() {
  static constinit RunLog log;
  return log;
}

void put(char c) {
  run_log().put(c);
  send<board::board.uart.kind>(c);
}

void put(const char* words) {
  for (; *words != '\0'; ++words) put(*words);
}

void put_hex(u32 value) {
  put("0x");
  for (int shift = 28; shift >= 0; shift -= 4) put("0123456789abcdef"[(value >> shift) & 0xf]);
}

void put_decimal(u32 value) {
  if (value >= 10) put_decimal(value / 10);
  put(static_cast<char>('0' + value % 10));
}

Line::Line() {
  console_lock.lock();
  put("amphion: ");
}
Line::~Line() {
  put("\r\n");
  console_lock.unlock();
}
Line& Line::operator<<(const char* words) {
  put(words);
  return *this;
}
Line& Line::operator<<(u32 number) {
  put_decimal(number);
  return *this;
}

void keep(const char* text, u32 bytes) {
  const LockGuard guard(console_lock);
  for (u32 i = 0; i < bytes; ++i) run_log().put(text[i]);
}
void keep_end_in_order() {
  const LockGuard guard(console_lock);
  run_log().end_in_order();
}

}  // namespace amphion::hyp
