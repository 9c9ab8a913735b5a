// SPDX-License-Identifier: Apache-2.0
// PL011 transmit, polled; see console.hpp. Registers: ARM DDI 0183, section 3.2.
#include "hyp/console.hpp"

#include "board/qemu-virt/board.hpp"
#include "hyp/spinlock.hpp"
#include "hyp/sysreg.hpp"

namespace amphion::hyp {
namespace {

constexpr u32 uart_dr = board::board.uart.base + 0x00;
constexpr u32 uart_fr = board::board.uart.base + 0x18;
constexpr u32 uart_cr = board::board.uart.base + 0x30;
constexpr u32 fr_transmit_full = 1u << 5;
constexpr u32 cr_transmit_on = (1u << 0) | (1u << 8);

constinit SpinLock console_lock;

void put(char c) {
  write32(uart_cr, read32(uart_cr) | cr_transmit_on);
  while ((read32(uart_fr) & fr_transmit_full) != 0) {
  }
  write32(uart_dr, static_cast<u8>(c));
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

}  // namespace

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

void panic(const char* reason) {
  put("\r\namphion: panic on CPU ");
  put_decimal(Mpidr::read() & 0xff);
  put(": ");
  put(reason);
  put("\r\n");
  for (;;) wait_for_interrupt();
}

// From vectors.S: an exception inside the hypervisor. Registers r0..r12 as they were, then lr.
extern "C" [[noreturn]] void hyp_exception(const char* kind, const u32* registers) {
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
  panic("see the registers above");
}

}  // namespace amphion::hyp
