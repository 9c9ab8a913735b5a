// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/qemu/uart.hpp"

#include <string>

namespace amphion::qemu {
namespace {

constexpr std::uint32_t fifo_enabled = 0x10;  // LCR_H.FEN
constexpr std::uint32_t flag_receive_empty = 0x10, flag_transmit_full = 0x20, flag_receive_full = 0x40,
                        flag_transmit_empty = 0x80;

std::uint32_t depth(std::uint32_t lcr_h) { return (lcr_h & fifo_enabled) != 0 ? 16 : 1; }

std::string fifo(std::uint32_t n) { return "read_fifo#" + std::to_string(n); }

}  // namespace

machine::Pl011 uart_to_neutral(const Section& s) {
  const auto get = [&](const char* field) { return static_cast<std::uint32_t>(s.get(field)); };
  machine::Pl011 uart;
  const std::uint32_t count = get("read_count"), position = get("read_pos"), mask = depth(get("lcr")) - 1;
  if (count > mask + 1) throw StreamError("QEMU's PL011 holds more bytes than its FIFO has room for");
  uart.set_dr_fifo_count(count);
  for (std::uint32_t n = 0; n < count; ++n)
    uart.mutable_rx_fifo()->push_back(static_cast<char>(s.get(fifo((position + n) & mask))));
  uart.set_rsr(get("rsr"));
  uart.set_ilpr(get("ilpr"));
  uart.set_ibrd(get("ibrd"));
  uart.set_fbrd(get("fbrd"));
  uart.set_lcr_h(get("lcr"));
  uart.set_cr(get("cr"));
  uart.set_ifls(get("ifl"));
  uart.set_imsc(get("int_enabled"));
  uart.set_ris(get("int_level"));
  uart.set_dmacr(get("dmacr"));
  return uart;
}

void uart_from_neutral(const machine::Pl011& uart, Section& s) {
  const std::uint32_t count = uart.dr_fifo_count(), room = depth(uart.lcr_h());
  if (count > room) throw StreamError("the PL011 holds more bytes than its FIFO has room for");
  s.set("read_pos", 0);
  s.set("read_count", count);
  for (std::uint32_t n = 0; n < 16; ++n) s.set(fifo(n), n < count ? static_cast<std::uint8_t>(uart.rx_fifo()[n]) : 0);
  const std::uint32_t fill =
      flag_transmit_empty | (count == 0 ? flag_receive_empty : 0) | (count == room ? flag_receive_full : 0);
  constexpr std::uint32_t fill_flags =
      flag_receive_empty | flag_transmit_full | flag_receive_full | flag_transmit_empty;
  s.set("flags", (s.get("flags") & ~std::uint64_t{fill_flags}) | fill);
  s.set("rsr", uart.rsr());
  s.set("ilpr", uart.ilpr());
  s.set("ibrd", uart.ibrd());
  s.set("fbrd", uart.fbrd());
  s.set("lcr", uart.lcr_h());
  s.set("cr", uart.cr());
  s.set("ifl", uart.ifls());
  s.set("int_enabled", uart.imsc());
  s.set("int_level", uart.ris());
  s.set("dmacr", uart.dmacr());
}

}  // namespace amphion::qemu
