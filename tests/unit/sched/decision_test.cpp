// SPDX-License-Identifier: Apache-2.0
#include "sched/core/decision.h"

#include <gtest/gtest.h>

#include <cstdint>

extern "C" {
unsigned int c_threshold(unsigned int length, unsigned int alpha);
bool c_far(unsigned int ordinate, unsigned int sibling_ordinate, unsigned int threshold);
unsigned long long c_period(unsigned int length, unsigned long long latency, unsigned long long granularity);
bool c_may_join(unsigned long long ahead_vt, unsigned long long turn_vt);
unsigned long long c_joined_turn(unsigned long long ahead_vt, unsigned long long turn_vt);
}

namespace {

TEST(Decision, ThresholdIsTheShareOfTheLengthRoundedUpAndAtLeastOne) {
  for (unsigned length = 0; length <= 300; ++length) {
    for (unsigned alpha = 0; alpha <= SBCO_THRESHOLD_ONE; ++alpha) {
      const unsigned threshold = sbco_threshold(length, alpha);
      EXPECT_GE(threshold, 1u);
      if (length * alpha == 0) continue;
      ASSERT_GE(threshold * SBCO_THRESHOLD_ONE, length * alpha);
      ASSERT_LT((threshold - 1) * SBCO_THRESHOLD_ONE, length * alpha);
    }
  }
  EXPECT_EQ(sbco_threshold(6, SBCO_THRESHOLD_DEFAULT), 5u);  // 683 / 1024 is a little more than 2/3
  EXPECT_EQ(sbco_threshold(2, SBCO_THRESHOLD_DEFAULT), 2u);
  EXPECT_EQ(sbco_threshold(1u << 20, SBCO_THRESHOLD_ONE), 1u << 20);  // the longest queue
}

TEST(Decision, WithThresholdOneNobodyInAQueueAsLongIsTooFar) {
  for (unsigned length = 1; length <= 100; ++length) {
    EXPECT_FALSE(sbco_far(0, length - 1, sbco_threshold(length, SBCO_THRESHOLD_ONE)));
  }
}

TEST(Decision, DistanceHasNoSign) {
  EXPECT_TRUE(sbco_far(0, 4, 4));
  EXPECT_TRUE(sbco_far(4, 0, 4));
  EXPECT_FALSE(sbco_far(0, 3, 4));
  EXPECT_FALSE(sbco_far(3, 0, 4));
  EXPECT_FALSE(sbco_far(7, 7, 1));
  EXPECT_TRUE(sbco_far(0, ~0u, 1));
}

TEST(Decision, PeriodIsTheLatencyUntilTurnsWouldBeShorterThanTheGranularity) {
  EXPECT_EQ(sbco_period(0, 20, 4), 20u);
  EXPECT_EQ(sbco_period(5, 20, 4), 20u);
  EXPECT_EQ(sbco_period(6, 20, 4), 24u);
  EXPECT_EQ(sbco_period(1u << 20, 20, ~0u), (1ull << 20) * ~0u);
}

TEST(Decision, WhoJoinsIsHalfATurnAheadAtMostAndEndsTwoThirdsAhead) {
  for (unsigned turn_vt = 0; turn_vt < 100; ++turn_vt) {
    for (unsigned ahead_vt = 0; ahead_vt < 100; ++ahead_vt) {
      ASSERT_EQ(sbco_may_join(ahead_vt, turn_vt), ahead_vt <= turn_vt / 2);
      if (!sbco_may_join(ahead_vt, turn_vt)) continue;
      const auto end_vt = ahead_vt + sbco_joined_turn(ahead_vt, turn_vt);
      ASSERT_GE(3 * end_vt, 2 * turn_vt);
      ASSERT_LT(3 * end_vt, 2 * turn_vt + 3);
      ASSERT_TRUE(turn_vt == 0 || end_vt > ahead_vt) << "a turn of nothing";
    }
  }
  EXPECT_FALSE(sbco_may_join(~0ull, 100)) << "behind the first";
}

TEST(Decision, IsTheSameInC) {
  for (unsigned length = 0; length < 40; ++length) {
    for (unsigned alpha = 0; alpha <= SBCO_THRESHOLD_ONE; alpha += 31) {
      ASSERT_EQ(c_threshold(length, alpha), sbco_threshold(length, alpha));
    }
    for (unsigned other = 0; other < 40; ++other) {
      for (unsigned threshold = 1; threshold < 9; ++threshold) {
        ASSERT_EQ(c_far(length, other, threshold), sbco_far(length, other, threshold));
      }
    }
    ASSERT_EQ(c_period(length, 20, 3), sbco_period(length, 20, 3));
    for (unsigned ahead_vt = 0; ahead_vt <= length; ++ahead_vt) {
      ASSERT_EQ(c_may_join(ahead_vt, length), sbco_may_join(ahead_vt, length));
      ASSERT_EQ(c_joined_turn(ahead_vt, length), sbco_joined_turn(ahead_vt, length));
    }
  }
}

}  // namespace
