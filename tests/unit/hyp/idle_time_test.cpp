// SPDX-License-Identifier: Apache-2.0
#include "hyp/idle_time.hpp"

#include <gtest/gtest.h>

namespace amphion::hyp {
namespace {

u64 clock_ticks = 0;
u64 now() { return clock_ticks; }

TEST(IdleTime, IsWhatHasEndedAndWhatGoesOn) {
  IdleTime idle;
  clock_ticks = 100;
  EXPECT_EQ(idle.ticks(now), 0u);
  idle.begin(100);
  EXPECT_EQ(idle.ticks(now), 0u);
  clock_ticks = 107;
  EXPECT_EQ(idle.ticks(now), 7u);
  idle.end(109);
  clock_ticks = 1000;
  EXPECT_EQ(idle.ticks(now), 9u) << "it is busy";
  idle.begin(1000);
  clock_ticks = 1001;
  EXPECT_EQ(idle.ticks(now), 10u);
  idle.end(1001);
  EXPECT_EQ(idle.ticks(now), 10u);
}

TEST(IdleTime, LastsFor100Years) {
  constexpr u64 years = u64{62'500'000} * 3600 * 24 * 366 * 100;
  IdleTime idle;
  clock_ticks = years;
  idle.begin(3);
  EXPECT_EQ(idle.ticks(now), years - 3);
  idle.end(years);
  EXPECT_EQ(idle.ticks(now), years - 3);
}

}  // namespace
}  // namespace amphion::hyp
