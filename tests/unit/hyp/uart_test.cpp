// SPDX-License-Identifier: Apache-2.0
#include "hyp/uart.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace amphion::hyp {
namespace {

constexpr std::uint32_t dr = 0x00, fr = 0x18, lcr_h = 0x2c, cr = 0x30, imsc = 0x38, ris = 0x3c, mis = 0x40, icr = 0x44;
constexpr std::uint32_t rx = 1u << 4, tx = 1u << 5, rxfe = 1u << 4, rxff = 1u << 6, txfe = 1u << 7,
                        full = 1u << 5 | 1u << 3;  // TXFF, BUSY
constexpr std::uint32_t fifo_on = 1u << 4, loop_back = 1u << 7, most_sent = 1024;

struct Line {
  Vgic vgic;
  Uart uart{vgic};

  Line() {
    vgic.init(1, 4, nullptr);
    uart.reset();
  }
  std::uint32_t get(std::uint32_t offset) { return uart.read(offset).value; }
  Uart::Tell put(std::uint32_t offset, std::uint32_t value) { return uart.write(offset, value).host; }
  std::string taken(std::size_t most = 4096) {
    std::vector<std::uint8_t> bytes(most);
    const auto count = uart.take(bytes).value;
    return {bytes.begin(), bytes.begin() + count};
  }
  std::uint32_t give(std::string_view text) {
    return uart.give(std::span(reinterpret_cast<const std::uint8_t*>(text.data()), text.size())).value;
  }
  bool high() { return vgic.level(0, machine::pl011_irq); }
};

TEST(Uart, IdentifiesItself) {
  Line u;
  EXPECT_EQ(u.get(0xfe0), 0x11u);
  EXPECT_EQ(u.get(0xff0), 0x0du);
  EXPECT_EQ(u.get(0xffc), 0xb1u);
  EXPECT_EQ(u.get(0xffd), 0xb1u);
}

TEST(Uart, SendsAtOnceAndInterruptsWhenEnabled) {
  Line u;
  u.put(dr, 'a');
  u.put(dr, 'b' | 0xff00);
  EXPECT_EQ(u.get(ris), tx);
  EXPECT_FALSE(u.high());
  u.put(imsc, tx);
  EXPECT_TRUE(u.high());
  EXPECT_EQ(u.get(mis), tx);
  u.put(icr, tx);
  EXPECT_FALSE(u.high());
  EXPECT_EQ(u.get(fr), txfe | rxfe);
  EXPECT_EQ(u.taken(), "ab");
  EXPECT_EQ(u.taken(), "");
}

TEST(Uart, TellsTheHostOnceOfManyBytes) {
  Line u;
  EXPECT_EQ(u.put(dr, 'a'), Uart::Tell::soon);
  for (std::uint32_t i = 2; i < most_sent / 2; ++i) EXPECT_EQ(u.put(dr, 'b'), Uart::Tell::nothing);
  EXPECT_EQ(u.put(dr, 'c'), Uart::Tell::now);
  EXPECT_EQ(u.put(dr, 'd'), Uart::Tell::nothing);
  EXPECT_EQ(u.taken().size(), most_sent / 2 + 1);
  EXPECT_EQ(u.put(dr, 'e'), Uart::Tell::soon);
}

TEST(Uart, FillsUpAndInterruptsWhenTheHostHasTaken) {
  Line u;
  u.put(imsc, tx);
  std::string sent;
  for (std::uint32_t i = 0; i < most_sent; ++i) {
    EXPECT_EQ(u.get(fr) & (full | txfe), txfe);
    u.put(icr, tx);
    sent.push_back(static_cast<char>('a' + i % 26));
    u.put(dr, static_cast<std::uint8_t>(sent.back()));
  }
  EXPECT_EQ(u.get(fr) & (full | txfe), full);
  EXPECT_FALSE(u.high());
  u.put(dr, '!');  // lost, as on hardware
  EXPECT_FALSE(u.high());
  EXPECT_EQ(u.taken(10), sent.substr(0, 10));
  EXPECT_TRUE(u.high());
  EXPECT_EQ(u.get(fr) & (full | txfe), txfe);
  u.put(dr, '?');
  EXPECT_EQ(u.taken(), sent.substr(10) + '?');
}

TEST(Uart, ReceivesSixteenBytesAndAsksForTheRest) {
  Line u;
  u.put(lcr_h, fifo_on);
  u.put(imsc, rx);
  EXPECT_EQ(u.give("0123456789abcdefgh"), 16u);
  EXPECT_TRUE(u.high());
  EXPECT_EQ(u.get(fr) & (rxff | rxfe), rxff);
  for (const char c : std::string_view("0123456789abcde")) {
    const Uart::Outcome read = u.uart.read(dr);
    EXPECT_EQ(read.value, static_cast<std::uint32_t>(c));
    EXPECT_EQ(read.host, Uart::Tell::nothing);
  }
  EXPECT_EQ(u.uart.read(dr).host, Uart::Tell::now);
  EXPECT_FALSE(u.high());
  EXPECT_EQ(u.get(fr) & (rxff | rxfe), rxfe);
  EXPECT_EQ(u.uart.read(dr).host, Uart::Tell::nothing);
  EXPECT_EQ(u.give("gh"), 2u);
  EXPECT_EQ(u.get(dr), static_cast<std::uint32_t>('g'));
  EXPECT_EQ(u.uart.read(dr).host, Uart::Tell::nothing);
}

TEST(Uart, HoldsOneByteWithoutFifo) {
  Line u;
  EXPECT_EQ(u.give("12"), 1u);
}

TEST(Uart, TogglingTheFifoEmptiesItAndAsks) {
  Line u;
  EXPECT_EQ(u.give("12"), 1u);
  EXPECT_EQ(u.put(lcr_h, fifo_on), Uart::Tell::now);
  EXPECT_EQ(u.get(fr) & rxfe, rxfe);
}

TEST(Uart, LoopsBack) {
  Line u;
  u.put(cr, loop_back);
  EXPECT_EQ(u.put(dr, 'x'), Uart::Tell::nothing);
  EXPECT_EQ(u.taken(), "");
  EXPECT_EQ(u.give("y"), 0u);
  EXPECT_EQ(u.get(dr), static_cast<std::uint32_t>('x'));
  EXPECT_EQ(u.put(cr, 0), Uart::Tell::now);  // for the y
}

TEST(Uart, KeepsRegistersWithinTheirWidth) {
  Line u;
  for (std::uint32_t offset = 0; offset < 0xfe0; offset += 4) u.put(offset, ~0u);
  amphion_uart s{};
  u.uart.get(s);
  EXPECT_EQ(s.ilpr, 0xffu);
  EXPECT_EQ(s.ibrd, 0xffffu);
  EXPECT_EQ(s.fbrd, 0x3fu);
  EXPECT_EQ(s.lcr_h, 0xffu);
  EXPECT_EQ(s.cr, 0xffffu);
  EXPECT_EQ(s.ifls, 0x3fu);
  EXPECT_EQ(s.imsc, 0x7ffu);
  EXPECT_EQ(s.dmacr, 7u);
  Vgic::Mask concerned = 0;
  EXPECT_TRUE(u.uart.set(s, concerned));
}

TEST(Uart, GoesOnElsewhere) {
  Line a, b;
  a.put(lcr_h, fifo_on);
  a.put(imsc, rx);
  for (const std::uint32_t byte : {'1', '2', '3'}) EXPECT_EQ(a.give(std::string(1, static_cast<char>(byte))), 1u);
  EXPECT_EQ(a.get(dr), static_cast<std::uint32_t>('1'));
  amphion_uart s{};
  a.uart.get(s);
  Vgic::Mask concerned = 0;
  ASSERT_TRUE(b.uart.set(s, concerned));
  EXPECT_TRUE(b.high());
  EXPECT_EQ(b.get(dr), static_cast<std::uint32_t>('2'));
  EXPECT_EQ(b.get(dr), static_cast<std::uint32_t>('3'));
  EXPECT_FALSE(b.high());
}

TEST(Uart, RefusesAStateThatIsNone) {
  Line u;
  amphion_uart good{};
  u.uart.get(good);
  const auto refuses = [&](auto change) {
    amphion_uart s = good;
    change(s);
    Vgic::Mask concerned = 0;
    return !u.uart.set(s, concerned);
  };
  EXPECT_FALSE(refuses([](amphion_uart& s) { s.received = AMPHION_UART_FIFO; }));
  EXPECT_TRUE(refuses([](amphion_uart& s) { s.received = AMPHION_UART_FIFO + 1; }));
  EXPECT_TRUE(refuses([](amphion_uart& s) { s.rsr = 0x10; }));
  EXPECT_TRUE(refuses([](amphion_uart& s) { s.ilpr = 0x100; }));
  EXPECT_TRUE(refuses([](amphion_uart& s) { s.ibrd = 0x10000; }));
  EXPECT_TRUE(refuses([](amphion_uart& s) { s.fbrd = 0x40; }));
  EXPECT_TRUE(refuses([](amphion_uart& s) { s.lcr_h = 0x100; }));
  EXPECT_TRUE(refuses([](amphion_uart& s) { s.cr = 0x10000; }));
  EXPECT_TRUE(refuses([](amphion_uart& s) { s.ifls = 0x40; }));
  EXPECT_TRUE(refuses([](amphion_uart& s) { s.imsc = 0x800; }));
  EXPECT_TRUE(refuses([](amphion_uart& s) { s.ris = 0x800; }));
  EXPECT_TRUE(refuses([](amphion_uart& s) { s.dmacr = 8; }));
}

}  // namespace
}  // namespace amphion::hyp
