// SPDX-License-Identifier: Apache-2.0
#include "hyp/timer.hpp"

#include <gtest/gtest.h>

namespace amphion::hyp {
namespace {

constexpr u64 day = u64{24} * 3600 * 62'500'000;

TEST(ToPhysical, ACounterThatIsBehindTheBoards) {
  EXPECT_EQ(to_physical(1'000, 5'000, 5'500), 6'000u);
  EXPECT_EQ(to_physical(0, 5'000, 5'500), 5'500u) << "reached: now";
  EXPECT_EQ(to_physical(500, 5'000, 5'500), 5'500u);
  EXPECT_EQ(to_physical(501, 5'000, 5'500), 5'501u);
}

// An instance that comes from a machine that has run for longer: CNTVOFF is "negative".
TEST(ToPhysical, ACounterThatIsAheadOfTheBoards) {
  constexpr u64 now = 100, ahead = 30 * day;
  constexpr u64 offset = now - ahead;
  EXPECT_EQ(to_physical(ahead + 7, offset, now), now + 7);
  EXPECT_EQ(to_physical(ahead, offset, now), now);
  EXPECT_EQ(to_physical(ahead - 1, offset, now), now);
  EXPECT_EQ(to_physical(ahead + day, offset, now), now + day);
}

TEST(ToPhysical, WhatTheCounterDoesNotReachIsNever) {
  EXPECT_EQ(to_physical(~u64{0}, 0, 0), never);
  EXPECT_EQ(to_physical(~u64{0}, 1, 1), never);
  EXPECT_EQ(to_physical(~u64{0}, 2, 2), never);
  EXPECT_EQ(to_physical(~u64{0} - 2, 1, 1), ~u64{0} - 1);
  EXPECT_EQ(to_physical(~u64{0}, 100 - 30 * day, 100), 100 + (~u64{0} - 30 * day));
}

}  // namespace
}  // namespace amphion::hyp
