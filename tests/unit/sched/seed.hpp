// SPDX-License-Identifier: Apache-2.0
// Seeds of the tests that compare with a naive model: always the same, but with --gtest_shuffle --gtest_random_seed=N
// others for each N.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <random>

namespace amphion::sched {

class Random {
 public:
  explicit Random(uint32_t fixed)
      : engine_(fixed + 1000 * static_cast<uint32_t>(testing::UnitTest::GetInstance()->random_seed())) {}
  uint32_t below(uint32_t bound) { return static_cast<uint32_t>(engine_() % bound); }
  bool one_in(uint32_t count) { return below(count) == 0; }

 private:
  std::mt19937_64 engine_;
};

}  // namespace amphion::sched
