// SPDX-License-Identifier: Apache-2.0
#include "cloud-side/qemu/gic.hpp"

#include <gtest/gtest.h>

#include "machine/cold_start.hpp"

namespace amphion::qemu::test {
namespace {

machine::Gic quiet() {
  machine::Gic gic = machine::cold_state({2, 64u << 20}, 1, 1).gic();
  gic.set_gicd_ctlr(1);
  for (auto& cpu : *gic.mutable_cpus()) {
    cpu.set_gicc_ctlr(1);
    cpu.set_gicc_pmr(0xf0);
    for (auto& line : *cpu.mutable_private_lines()) line.set_priority(0xa0);
  }
  for (auto& line : *gic.mutable_spis()) {
    line.set_priority(0xa0);
    line.set_targets(1);
  }
  return gic;
}

machine::GicLine& spi(machine::Gic& gic, int intid) { return *gic.mutable_spis(intid - 32); }

TEST(GicPresent, NothingWhenNothingIsPending) {
  const Presented p = present(quiet(), 0);
  EXPECT_EQ(p.highest_pending, 1023u);
  EXPECT_EQ(p.running_priority, 0x100u);
  EXPECT_FALSE(p.irq || p.fiq);
}

TEST(GicPresent, AnAssertedLevelGoesToItsTargetOnly) {
  machine::Gic gic = quiet();
  spi(gic, 33).set_enabled(true);
  spi(gic, 33).set_level(true);
  EXPECT_TRUE(present(gic, 0).irq);
  EXPECT_EQ(present(gic, 0).highest_pending, 33u);
  EXPECT_FALSE(present(gic, 1).irq);
}

TEST(GicPresent, AnEdgeCountsByItsLatchNotItsLevel) {
  machine::Gic gic = quiet();
  spi(gic, 48).set_enabled(true);
  spi(gic, 48).set_edge(true);
  spi(gic, 48).set_level(true);
  EXPECT_FALSE(present(gic, 0).irq);
  spi(gic, 48).set_pending(true);
  EXPECT_TRUE(present(gic, 0).irq);
}

TEST(GicPresent, AnActivePriorityHidesEqualOnes) {
  machine::Gic gic = quiet();
  spi(gic, 33).set_enabled(true);
  spi(gic, 33).set_level(true);
  gic.mutable_cpus(0)->set_gicc_apr(1u << (0xa0 >> 3));
  const Presented p = present(gic, 0);
  EXPECT_EQ(p.running_priority, 0xa0u);
  EXPECT_EQ(p.highest_pending, 33u);
  EXPECT_FALSE(p.irq);
  spi(gic, 33).set_priority(0x90);
  EXPECT_TRUE(present(gic, 0).irq);
}

TEST(GicPresent, MaskDisableAndActiveEachHide) {
  machine::Gic gic = quiet();
  spi(gic, 33).set_enabled(true);
  spi(gic, 33).set_level(true);
  gic.mutable_cpus(0)->set_gicc_pmr(0xa0);
  EXPECT_FALSE(present(gic, 0).irq);
  gic.mutable_cpus(0)->set_gicc_pmr(0xf0);
  gic.set_gicd_ctlr(0);
  EXPECT_FALSE(present(gic, 0).irq);
  gic.set_gicd_ctlr(1);
  gic.mutable_cpus(0)->set_gicc_ctlr(0);
  EXPECT_FALSE(present(gic, 0).irq);
  gic.mutable_cpus(0)->set_gicc_ctlr(1);
  spi(gic, 33).set_active(true);
  EXPECT_FALSE(present(gic, 0).irq);
}

TEST(GicPresent, AnSgiIsPendingWhenItHasASource) {
  machine::Gic gic = quiet();
  gic.mutable_cpus(1)->set_sgi_sources(2, 1);
  EXPECT_EQ(present(gic, 1).highest_pending, 2u);
  EXPECT_TRUE(present(gic, 1).irq);
  EXPECT_FALSE(present(gic, 0).irq);
}

TEST(GicPresent, Group0CanBeFiq) {
  machine::Gic gic = quiet();
  spi(gic, 33).set_enabled(true);
  spi(gic, 33).set_level(true);
  gic.mutable_cpus(0)->set_gicc_ctlr(1 | 8);
  EXPECT_TRUE(present(gic, 0).fiq);
  EXPECT_FALSE(present(gic, 0).irq);
}

}  // namespace
}  // namespace amphion::qemu::test
