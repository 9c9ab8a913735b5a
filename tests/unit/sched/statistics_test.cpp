// SPDX-License-Identifier: Apache-2.0
// What is counted, for whom and where.
#include <gtest/gtest.h>

#include <thread>

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

TEST_F(StatisticsTest, NobodyIsChosenWhereNobodyWaits) {
  (void)pick(0, 0);
  EXPECT_EQ(parts_.queue(0).statistics.decisions, 0u);
  wake(0, ms);
  ASSERT_EQ(pick(0, ms), 0u);
  EXPECT_EQ(parts_.queue(0).statistics.decisions, 1u);
}

// The one that ran last had the same number.
TEST_F(StatisticsTest, AnInstanceThatIsGivenAnewBeginsAnew) {
  wake(0, 0);
  ASSERT_EQ(pick(0, 0), 0u);
  parts_.scheduler.charge(0, 5 * ms);
  parts_.scheduler.block(0, 5 * ms);
  ASSERT_EQ(pick(0, 5 * ms), none);
  parts_.entities[0].run_ticks_when_lent = 5 * ms;
  parts_.scheduler.group(0, 1);
  EXPECT_EQ(parts_.entities[0].statistics.run_ticks, 0u);
  EXPECT_EQ(parts_.entities[0].run_ticks_when_lent, 0u);
  wake(0, 6 * ms);
  ASSERT_EQ(pick(0, 6 * ms), 0u);
  EXPECT_EQ(parts_.entities[0].statistics.switches, 1u);
}

TEST(Stacking, IsAvoidedAtWakeUpToo) {
  Parts parts(2, 2);
  for (uint32_t id = 0; id < 2; ++id) parts.scheduler.create(id, 0, 2, 0);
  parts.scheduler.wake(0, 0);
  ASSERT_EQ(parts.scheduler.pick(0, 0).id, 0u);
  parts.scheduler.wake(1, 0);
  EXPECT_EQ(parts.entities[1].place().cpu, 1);
  EXPECT_EQ(parts.queue(0).statistics.stackings_avoided, 1u);
}

// Over each carry into the upper half.
TEST(Count, IsReadWholeWhileItGrows) {
  constexpr uint64_t step = 0x8000'0001;
  Count count;
  std::thread writer([&] {
    for (int n = 0; n < 200'000; ++n) count += step;
  });
  for (uint64_t last = 0, now = 0; now != 200'000 * step; last = now) {
    now = count;
    ASSERT_GE(now, last);
    ASSERT_EQ(now % step, 0u);
  }
  writer.join();
}

}  // namespace
}  // namespace amphion::sched
