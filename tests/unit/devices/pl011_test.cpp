// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "tests/unit/devices/world.hpp"

namespace amphion::devices::testing {
namespace {

constexpr std::uint32_t dr = 0x00, fr = 0x18, lcr_h = 0x2c, cr = 0x30, imsc = 0x38, ris = 0x3c, mis = 0x40, icr = 0x44;
constexpr std::uint32_t rx = 1u << 4, tx = 1u << 5, rxfe = 1u << 4, rxff = 1u << 6, txfe = 1u << 7;

struct Uart : World {
  std::uint32_t get(std::uint32_t offset, std::uint32_t bytes = 4) {
    return model.read(machine::pl011.base + offset, bytes);
  }
  void put(std::uint32_t offset, std::uint32_t value, std::uint32_t bytes = 4) {
    model.write(machine::pl011.base + offset, bytes, value);
  }
  [[nodiscard]] bool line() { return lines.levels[machine::pl011_irq]; }
};

TEST(Pl011, IdentifiesItself) {
  Uart u;
  EXPECT_EQ(u.get(0xfe0), 0x11u);
  EXPECT_EQ(u.get(0xff0), 0x0du);
  EXPECT_EQ(u.get(0xffc), 0xb1u);
}

TEST(Pl011, SendsAtOnceAndInterruptsWhenEnabled) {
  Uart u;
  u.put(dr, 'a');
  u.put(dr, 'b', 1);
  EXPECT_EQ(u.serial, "ab");
  EXPECT_EQ(u.get(ris), tx);
  EXPECT_FALSE(u.line());
  u.put(imsc, tx);
  EXPECT_TRUE(u.line());
  EXPECT_EQ(u.get(mis), tx);
  u.put(icr, tx);
  EXPECT_FALSE(u.line());
  EXPECT_EQ(u.get(fr), txfe | rxfe);
}

TEST(Pl011, ReceivesSixteenBytesThenRefuses) {
  Uart u;
  u.put(lcr_h, 1u << 4);
  u.put(imsc, rx);
  for (std::uint8_t i = 0; i < 16; ++i) EXPECT_TRUE(u.model.uart().receive(i));
  EXPECT_FALSE(u.model.uart().receive(16));
  EXPECT_TRUE(u.line());
  EXPECT_EQ(u.get(fr) & (rxff | rxfe), rxff);
  for (std::uint32_t i = 0; i < 16; ++i) EXPECT_EQ(u.get(dr), i);
  EXPECT_FALSE(u.line());
  EXPECT_EQ(u.get(fr) & (rxff | rxfe), rxfe);
  EXPECT_EQ(u.get(dr), 0u);
}

TEST(Pl011, HoldsOneByteWithoutFifo) {
  Uart u;
  EXPECT_TRUE(u.model.uart().receive(1));
  EXPECT_FALSE(u.model.uart().receive(2));
}

TEST(Pl011, TogglingTheFifoEmptiesIt) {
  Uart u;
  EXPECT_TRUE(u.model.uart().receive(1));
  u.put(lcr_h, 1u << 4);
  EXPECT_EQ(u.get(fr) & rxfe, rxfe);
}

TEST(Pl011, LoopsBack) {
  Uart u;
  u.put(cr, 1u << 7);
  u.put(dr, 'x');
  EXPECT_EQ(u.serial, "");
  EXPECT_FALSE(u.model.uart().receive('y'));
  EXPECT_EQ(u.get(dr), static_cast<std::uint32_t>('x'));
}

TEST(Pl011, KeepsRegistersWithinTheirWidth) {
  Uart u;
  for (std::uint32_t offset = 0; offset < 0xfe0; offset += 4) u.put(offset, ~0u);
  machine::Pl011 s;
  u.model.uart().save(s);
  EXPECT_EQ(s.ilpr(), 0xffu);
  EXPECT_EQ(s.ibrd(), 0xffffu);
  EXPECT_EQ(s.fbrd(), 0x3fu);
  EXPECT_EQ(s.lcr_h(), 0xffu);
  EXPECT_EQ(s.cr(), 0xffffu);
  EXPECT_EQ(s.ifls(), 0x3fu);
  EXPECT_EQ(s.imsc(), 0x7ffu);
  EXPECT_EQ(s.dmacr(), 7u);
}

}  // namespace
}  // namespace amphion::devices::testing
