// SPDX-License-Identifier: Apache-2.0
// What one lends another receives, once, whatever happens to it meanwhile.
#include <gtest/gtest.h>

#include "tests/unit/sched/machine.hpp"

namespace amphion::sched {
namespace {

// Instance {0, 1}: the lender stands first on CPU 0, the borrower last on CPU 1. 2 .. 4 are beside the lender, 5 .. 7
// beside the borrower; 8 has CPU 2 for itself until it is stopped. Nobody but the test lets virtual time change hands.
class DebtTest : public testing::Test {
 protected:
  static constexpr uint32_t lender = 0, borrower = 1;
  static constexpr uint64_t half_turn = 20 * ms / 4 / 2;

  DebtTest() : parts_(3, 9) {
    parts_.tuning.policy = &dft;
    for (uint32_t id : {lender, borrower}) parts_.scheduler.create(id, 0, 2, static_cast<uint8_t>(id));
    for (uint32_t id = 2; id < 9; ++id) {
      const uint32_t cpu = id == 8 ? 2 : (id + 1) / 3 - 1;
      parts_.scheduler.create(id, id, 1, static_cast<uint8_t>(cpu), 0, 1u << cpu);
    }
    for (uint32_t id : {8u, 2u, 3u, 4u, 5u, 6u, 7u}) start(id);
    start(lender);
    start(borrower);
    for (uint32_t id : {2u, 3u, 4u, 5u, 6u, 7u}) scheduler_.charge(id, ms);
    scheduler_.charge(borrower, 2 * ms);
    lender_key_ = entity(lender).node.key;
    borrower_key_ = entity(borrower).node.key;
  }
  void start(uint32_t id) {
    scheduler_.wake(id, 0);
    pick(entity(id).place().cpu);
  }
  Entity& entity(uint32_t id) { return parts_.entities[id]; }
  void pick(uint32_t cpu) { static_cast<void>(scheduler_.pick(cpu, 0)); }
  void lend() { ASSERT_TRUE(scheduler_.lend(parts_.queue(0), lender, borrower)); }
  uint64_t applied() {
    uint64_t sum = 0;
    for (uint32_t cpu = 0; cpu < 3; ++cpu) sum += parts_.queue(cpu).statistics.debts_applied;
    return sum;
  }
  // CPU 2 has nothing to do and gets the borrower, which stands last.
  void post_to_cpu_2() {
    scheduler_.block(8, 0);
    pick(2);
    parts_.queue(1).wanted = 1u << 2;
    pick(1);
    ASSERT_EQ(entity(borrower).place().cpu, 2);
    ASSERT_TRUE(entity(borrower).away);
  }

  Parts parts_;
  Scheduler& scheduler_ = parts_.scheduler;
  uint64_t lender_key_ = 0, borrower_key_ = 0;
};

TEST_F(DebtTest, ReachesOneThatWaits) {
  lend();
  EXPECT_EQ(entity(lender).node.key, lender_key_ + half_turn);
  EXPECT_EQ(entity(borrower).node.key, borrower_key_);
  pick(1);
  pick(1);
  EXPECT_EQ(entity(borrower).node.key, borrower_key_ - half_turn);
  EXPECT_EQ(applied(), 1u);
  EXPECT_EQ(entity(lender).statistics.lends, 1u);
  EXPECT_EQ(entity(borrower).statistics.debts, 1u);
}

TEST_F(DebtTest, IsHalfTheSmallerOfBothTurns) {
  parts_.scheduler.block(5, 0);
  parts_.scheduler.block(6, 0);
  lend();
  EXPECT_EQ(entity(borrower).debt_vt, half_turn);  // the lender's queue is the longer one
  EXPECT_EQ(entity(lender).node.key, lender_key_ + half_turn);
}

TEST_F(DebtTest, NobodyIsAdjustedTwice) {
  lend();
  EXPECT_FALSE(scheduler_.lend(parts_.queue(0), lender, borrower));
  pick(1);
  EXPECT_FALSE(scheduler_.lend(parts_.queue(0), lender, borrower));
  EXPECT_EQ(entity(lender).node.key, lender_key_ + half_turn);
  EXPECT_EQ(entity(borrower).node.key, borrower_key_ - half_turn);
}

TEST_F(DebtTest, ReachesOneThatRuns) {
  lend();
  scheduler_.prefer(borrower);
  pick(1);
  ASSERT_EQ(entity(borrower).place().life, Life::running);
  EXPECT_EQ(entity(borrower).node.key, borrower_key_ - half_turn);
  EXPECT_EQ(applied(), 1u);
}

TEST_F(DebtTest, ReachesOneThatSleeps) {
  lend();
  scheduler_.block(borrower, 0);
  pick(1);
  EXPECT_EQ(applied(), 1u);
  EXPECT_EQ(entity(borrower).node.key, borrower_key_ - half_turn);
}

// Who sleeps for long is put no further back than half a latency; who was lent something, no further than that.
TEST_F(DebtTest, IsNotLostInALongSleep) {
  lend();
  scheduler_.block(borrower, 0);
  pick(1);
  parts_.queue(1).minimum_vt += 1000 * ms;
  scheduler_.wake(borrower, 0);
  pick(1);
  EXPECT_EQ(entity(borrower).node.key, parts_.queue(1).minimum_vt - 10 * ms - half_turn);
}

TEST_F(DebtTest, FollowsOneThatIsOnItsWay) {
  post_to_cpu_2();
  lend();
  const uint64_t distance = entity(borrower).node.key;  // from what the queue has reached
  pick(1);
  EXPECT_EQ(applied(), 0u);
  scheduler_.arrive(2, 0);
  const uint64_t arrived = parts_.queue(2).minimum_vt + distance;
  pick(2);
  EXPECT_EQ(entity(borrower).node.key, arrived - half_turn);
  EXPECT_EQ(applied(), 1u);
}

TEST_F(DebtTest, FollowsOneThatMovedAfterItWasLent) {
  lend();
  // As if it had been lent while CPU 1, which has applied its debts, posts the borrower.
  ASSERT_EQ(parts_.queue(1).debts.take(), borrower);
  post_to_cpu_2();
  parts_.queue(1).debts.push(borrower, [&](uint32_t id) -> uint32_t& { return entity(id).debt_link; });
  const uint64_t distance = entity(borrower).node.key;
  pick(1);
  EXPECT_EQ(applied(), 0u);
  scheduler_.arrive(2, 0);
  const uint64_t arrived = parts_.queue(2).minimum_vt + distance;
  pick(2);
  EXPECT_EQ(entity(borrower).node.key, arrived - half_turn);
  EXPECT_EQ(applied(), 1u);
}

TEST_F(DebtTest, IsTakenOverByWhoGetsTheNumber) {
  lend();
  scheduler_.block(borrower, 0);
  scheduler_.group(0, 2);
  scheduler_.wake(borrower, 0);
  const uint64_t key = entity(borrower).node.key;
  pick(1);
  EXPECT_EQ(entity(borrower).node.key, key - half_turn);
  EXPECT_EQ(entity(borrower).statistics.debts, 1u);
}

}  // namespace
}  // namespace amphion::sched
