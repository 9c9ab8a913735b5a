// SPDX-License-Identifier: Apache-2.0
// Waiting is counted for who waits and for the CPU where it does: until it runs, sleeps, or is sent elsewhere.
#include <gtest/gtest.h>

#include "tests/unit/sched/machine.hpp"

namespace amphion::sched {
namespace {

class StatisticsTest : public testing::Test {
 protected:
  StatisticsTest() : parts_(2, 3) {
    for (uint32_t id = 0; id < 3; ++id) parts_.scheduler.create(id, id, 1, 0, 0, 1u);
  }
  void wake(uint32_t id, uint64_t now) { parts_.scheduler.wake(id, now); }
  uint32_t pick(uint32_t cpu, uint64_t now) { return parts_.scheduler.pick(cpu, now).id; }
  uint64_t waited(uint32_t id) { return parts_.entities[id].statistics.wait_ticks; }
  uint64_t waited_at(uint32_t cpu) { return parts_.queue(cpu).statistics.wait_ticks; }

  Parts parts_;
};

TEST_F(StatisticsTest, WaitingEndsWhenATurnBeginsOrSleepDoes) {
  wake(0, 0);
  ASSERT_EQ(pick(0, 0), 0u);
  wake(1, ms);
  parts_.scheduler.block(0, 4 * ms);
  ASSERT_EQ(pick(0, 5 * ms), 1u);
  EXPECT_EQ(waited(0), 0u);
  EXPECT_EQ(waited(1), 4 * ms);
  wake(0, 6 * ms);
  parts_.scheduler.block(0, 8 * ms);
  EXPECT_EQ(waited(0), 2 * ms);
  EXPECT_EQ(waited_at(0), 6 * ms);
  EXPECT_EQ(waited_at(1), 0u);
}

TEST_F(StatisticsTest, WhoIsSentToAnIdleCpuHasWaited) {
  wake(0, 0);
  ASSERT_EQ(pick(0, 0), 0u);
  wake(2, ms);
  parts_.entities[2].allowed = ~0u;
  ASSERT_EQ(pick(1, 2 * ms), none);  // wishes for work
  (void)pick(0, 8 * ms);
  EXPECT_EQ(waited(2), 7 * ms);
  EXPECT_EQ(waited_at(0), 7 * ms);
  ASSERT_EQ(pick(1, 8 * ms), 2u);
  EXPECT_EQ(waited(2), 7 * ms);
  EXPECT_EQ(waited_at(1), 0u);
}

}  // namespace
}  // namespace amphion::sched
