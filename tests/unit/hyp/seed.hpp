// SPDX-License-Identifier: Apache-2.0
// Seeds of the tests that compare with a naive model: always the same, but with --gtest_shuffle --gtest_random_seed=N
// (tests/fuzz/run.py) others for each N.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>

namespace amphion::hyp {

[[nodiscard]] inline std::uint32_t seed(std::uint32_t fixed) {
  constexpr std::uint32_t apart = 1000;
  return fixed + apart * static_cast<std::uint32_t>(testing::UnitTest::GetInstance()->random_seed());
}

}  // namespace amphion::hyp
