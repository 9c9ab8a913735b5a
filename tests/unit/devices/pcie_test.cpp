// SPDX-License-Identifier: Apache-2.0
#include "phone-side/devices/pcie.hpp"

#include <gtest/gtest.h>

namespace amphion::devices {
namespace {

constexpr std::uint32_t at(std::uint32_t bus, std::uint32_t device, std::uint32_t function, std::uint32_t offset) {
  return bus << 20 | device << 15 | function << 12 | offset;
}

TEST(Pcie, ShowsTheBridgeAndFourPorts) {
  Pcie p;
  EXPECT_EQ(p.read(at(0, 0, 0, 0), 4), 0x0008'1b36u);
  for (std::uint32_t device = 1; device <= 4; ++device) {
    EXPECT_EQ(p.read(at(0, device, 0, 0), 4), 0x000c'1b36u);
    EXPECT_EQ(p.read(at(0, device, 0, 0x68), 4) >> 19, device);  // physical slot
    EXPECT_EQ(p.read(at(0, device, 0, 0x0e), 1), 1u);
  }
}

TEST(Pcie, NothingElseIsThere) {
  Pcie p;
  EXPECT_EQ(p.read(at(0, 5, 0, 0), 4), ~0u);
  EXPECT_EQ(p.read(at(0, 1, 1, 0), 4), ~0u);
  EXPECT_EQ(p.read(at(1, 0, 0, 0), 2), 0xffffu);
  EXPECT_EQ(p.read(at(15, 31, 7, 0xffc), 4), ~0u);
  EXPECT_EQ(p.read(at(0, 0, 0, 0x100), 4), ~0u);
  p.write(at(1, 0, 0, 0), 4, 0);
  EXPECT_EQ(p.read(at(1, 0, 0, 0), 4), ~0u);
}

TEST(Pcie, OnlyWritableBitsChange) {
  Pcie p;
  const std::uint32_t port = at(0, 2, 0, 0);
  p.write(port, 4, 0);
  EXPECT_EQ(p.read(port, 4), 0x000c'1b36u);
  p.write(port + 4, 2, 0xffff);
  EXPECT_EQ(p.read(port + 4, 4), 0x0010'0507u);
  p.write(port + 0x18, 4, 0xff03'0201);
  EXPECT_EQ(p.read(port + 0x18, 4), 0x0003'0201u);
  p.write(port + 0x19, 1, 0x09);
  EXPECT_EQ(p.read(port + 0x18, 4), 0x0003'0901u);
  p.write(port + 0x10, 4, ~0u);
  EXPECT_EQ(p.read(port + 0x10, 4), 0xffff'f000u);
}

TEST(Pcie, StateRoundTripsButForWhatAGuestCannotWrite) {
  Pcie p;
  p.write(at(0, 0, 0, 4), 2, 0x7);
  p.write(at(0, 3, 0, 0x18), 4, 0x0004'0300);
  machine::Pcie state;
  p.save(state);
  EXPECT_EQ(state.host_bridge().size(), 256u);
  ASSERT_EQ(state.root_ports_size(), 4);
  // Another engine had a function behind port 0: link and presence are not taken over.
  (*state.mutable_root_ports(0)->mutable_config())[0x67] = '\x7f';
  Pcie q;
  q.restore(state);
  EXPECT_EQ(q.read(at(0, 0, 0, 4), 2), 7u);
  EXPECT_EQ(q.read(at(0, 3, 0, 0x18), 4), 0x0004'0300u);
  EXPECT_EQ(q.read(at(0, 1, 0, 0x64), 4), 0x0204'0000u);
}

}  // namespace
}  // namespace amphion::devices
