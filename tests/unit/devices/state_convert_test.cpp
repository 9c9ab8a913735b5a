// SPDX-License-Identifier: Apache-2.0
// Every field of the hypervisor's structures survives the way through the neutral state.
#include "phone-side/instance/state_convert.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>

#include "tests/unit/devices/world.hpp"
namespace amphion::instance {
namespace {

// Noise in every byte; then what is padding, or narrower than its field, set right.
amphion_vcpu noisy_vcpu(devices::testing::Random& random) {
  amphion_vcpu v{};
  auto* bytes = reinterpret_cast<unsigned char*>(&v);
  for (std::size_t i = 0; i < sizeof v; ++i) bytes[i] = static_cast<unsigned char>(random());
  v.power = random() % 2;
  std::memset(bytes + offsetof(amphion_vcpu, pad), 0, offsetof(amphion_vcpu, d) - offsetof(amphion_vcpu, pad));
  return v;
}

amphion_gic_line noisy_line(devices::testing::Random& random) {
  return {static_cast<amphion_u8>(random() % 64), static_cast<amphion_u8>(random()), static_cast<amphion_u8>(random()),
          0};
}

amphion_gic noisy_gic(devices::testing::Random& random, std::uint32_t vcpus) {
  amphion_gic g{};
  g.gicd_ctlr = random();
  for (auto& line : g.spi) line = noisy_line(random);
  for (std::uint32_t i = 0; i < vcpus; ++i) {
    auto& cpu = g.cpu[i];
    for (auto& line : cpu.line) line = noisy_line(random);
    for (auto& s : cpu.sgi_sources) s = static_cast<amphion_u8>(random());
    for (auto* r : {&cpu.ctlr, &cpu.pmr, &cpu.bpr, &cpu.abpr, &cpu.apr}) *r = random();
  }
  return g;
}

TEST(StateConvert, VcpuRoundTrips) {
  devices::testing::Random random(3);
  for (int i = 0; i < 50; ++i) {
    const amphion_vcpu v = noisy_vcpu(random);
    const amphion_vcpu back = from_state(to_state(v));
    EXPECT_EQ(std::memcmp(&v, &back, sizeof v), 0);
  }
}

TEST(StateConvert, GicRoundTrips) {
  devices::testing::Random random(4);
  for (std::uint32_t vcpus = 1; vcpus <= AMPHION_MAX_VCPUS; ++vcpus) {
    const amphion_gic g = noisy_gic(random, vcpus);
    const amphion_gic back = from_state(to_state(g, vcpus));
    EXPECT_EQ(std::memcmp(&g, &back, sizeof g), 0);
  }
}

// A round trip would not see two fields changed for one another.
TEST(StateConvert, NamesMeanTheSame) {
  amphion_vcpu v{};
  v.r[12] = 1;
  v.sp_usr = 2;
  v.pc = 3;
  v.sp[AMPHION_MODE_IRQ] = 4;
  v.lr[AMPHION_MODE_UND] = 5;
  v.spsr[AMPHION_MODE_FIQ] = 6;
  v.ttbr1 = 7;
  v.mair1 = 8;
  v.cntp_cval = 9;
  v.tpidrprw = 10;
  const auto s = to_state(v);
  EXPECT_EQ(s.r(12), 1u);
  EXPECT_EQ(s.r(13), 2u);
  EXPECT_EQ(s.r(15), 3u);
  EXPECT_EQ(s.irq().sp(), 4u);
  EXPECT_EQ(s.und().lr(), 5u);
  EXPECT_EQ(s.fiq().spsr(), 6u);
  EXPECT_EQ(s.cp15().ttbr1(), 7u);
  EXPECT_EQ(s.cp15().mair1(), 8u);
  EXPECT_EQ(s.physical_timer().cval(), 9u);
  EXPECT_EQ(s.cp15().tpidrprw(), 10u);
}

}  // namespace
}  // namespace amphion::instance
