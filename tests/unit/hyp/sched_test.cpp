// SPDX-License-Identifier: Apache-2.0
#include "hyp/sched.hpp"

#include <gtest/gtest.h>

#include "hyp/timer.hpp"

namespace amphion::hyp {
namespace {

constexpr u64 slice = 1000;

struct SchedTest : testing::Test {
  SchedTest() {
    scheduler.init(slice);
    scheduler.add(a);
    scheduler.add(b);
  }
  // Slices that `other` gets before `vcpu` runs again.
  int slices_before(Vcpu& vcpu) {
    for (int count = 0; count < 1000; ++count) {
      Vcpu* next = scheduler.pick();
      if (next == &vcpu) return count;
      scheduler.ran(*next, slice);
    }
    return 1000;
  }

  FairScheduler scheduler;
  Vcpu a, b;
};

TEST_F(SchedTest, EqualOnesAlternateBySlices) {
  EXPECT_EQ(scheduler.pick(), nullptr);
  scheduler.ready(a);
  EXPECT_EQ(scheduler.slice(a), never);
  scheduler.ready(b);
  EXPECT_EQ(scheduler.slice(a), slice);
  int runs_of_a = 0;
  for (int i = 0; i < 100; ++i) {
    Vcpu* next = scheduler.pick();
    runs_of_a += next == &a ? 1 : 0;
    scheduler.ran(*next, slice);
  }
  EXPECT_EQ(runs_of_a, 50);
}

TEST_F(SchedTest, SharesByWeight) {
  a.weight_log2 = 1;
  scheduler.ready(a);
  scheduler.ready(b);
  int runs_of_a = 0;
  for (int i = 0; i < 300; ++i) {
    Vcpu* next = scheduler.pick();
    runs_of_a += next == &a ? 1 : 0;
    scheduler.ran(*next, slice);
  }
  EXPECT_NEAR(runs_of_a, 200, 2);
}

// a spins until b, which computes, has answered its interrupt: b's turn comes at once and is short, whoever is ahead.
TEST_F(SchedTest, AnInterruptIsAnsweredAtOnceAndDoesNotBuyASlice) {
  scheduler.ready(b);
  for (int i = 0; i < 3; ++i) scheduler.ran(*scheduler.pick(), 3 * slice);
  scheduler.ready(a);
  ASSERT_EQ(scheduler.pick(), &a);
  scheduler.prefer(b);
  u64 answered = 0;
  while (scheduler.pick() == &b) {
    ASSERT_LT(scheduler.slice(b), slice / 10);
    answered += scheduler.slice(b);
    scheduler.ran(b, scheduler.slice(b));
  }
  EXPECT_GT(answered, 0u);
  EXPECT_LT(answered, slice / 2);
  EXPECT_EQ(scheduler.slice(a), slice);
}

TEST_F(SchedTest, InterruptsDoNotBuyMoreThanTheShare) {
  scheduler.ready(a);
  scheduler.ready(b);
  u64 of_a = 0, of_b = 0;
  for (int i = 0; i < 1000; ++i) {
    scheduler.prefer(b);
    Vcpu* next = scheduler.pick();
    const u64 took = scheduler.slice(*next);
    (next == &a ? of_a : of_b) += took;
    scheduler.ran(*next, took);
  }
  EXPECT_LT(of_b, of_a + 3 * slice);
}

TEST_F(SchedTest, OneLongOperationCostsAFewSlices) {
  scheduler.ready(a);
  scheduler.ready(b);
  ASSERT_EQ(scheduler.pick(), &a);
  scheduler.ran(a, 1'000 * slice);
  EXPECT_LE(slices_before(a), 6);
  EXPECT_GE(a.virtual_runtime, 4 * slice);
}

TEST_F(SchedTest, AHogThatWasAloneGivesWayAtOnceAndNotForLong) {
  scheduler.ready(a);
  ASSERT_EQ(scheduler.pick(), &a);
  scheduler.ran(a, 1'000'000 * slice);
  scheduler.ready(b);
  EXPECT_EQ(scheduler.pick(), &b);
  EXPECT_LE(slices_before(a), 6);
}

TEST_F(SchedTest, SleepEarnsNoHoard) {
  scheduler.ready(a);
  for (int i = 0; i < 1'000; ++i) {
    ASSERT_EQ(scheduler.pick(), &a);
    scheduler.ran(a, slice);
  }
  scheduler.ready(b);
  EXPECT_LE(slices_before(a), 3);
}

}  // namespace
}  // namespace amphion::hyp
