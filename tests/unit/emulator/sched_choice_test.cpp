// SPDX-License-Identifier: Apache-2.0
// What --sched takes: each part, the bounds, and what is refused.
#include "emulator/sched_choice.hpp"

#include <gtest/gtest.h>

#include "hyp/abi/amphion_hypercall.h"

namespace amphion::emulator {
namespace {

hyp::BundleSched good(std::string_view text) {
  const auto parsed = parse_sched_choice(text);
  if (const auto* wrong = std::get_if<std::string>(&parsed)) ADD_FAILURE() << *wrong;
  return std::get<hyp::BundleSched>(parsed);
}

std::string wrong(std::string_view text) {
  const auto parsed = parse_sched_choice(text);
  const auto* why = std::get_if<std::string>(&parsed);
  return why == nullptr ? "accepted" : why->substr(0, why->find(';'));
}

TEST(SchedChoice, EachPartIsTakenAndTheRestIsLeftToTheHypervisor) {
  EXPECT_EQ(good("dft").policy, AMPHION_SCHED_DFT + 1);
  EXPECT_EQ(good("bal").policy, AMPHION_SCHED_BAL + 1);
  EXPECT_EQ(good("sbco").policy, AMPHION_SCHED_SBCO + 1);
  EXPECT_EQ(good("sbco").threshold, 0u);
  const auto all = good("threshold=0.667,latency=0.1,cpuco,hand-over=off,granularity=100");
  EXPECT_EQ(all.policy, AMPHION_SCHED_CPUCO + 1);
  EXPECT_EQ(all.threshold, 683u + 1);
  EXPECT_EQ(all.latency_us, AMPHION_SCHED_SHORTEST_US);
  EXPECT_EQ(all.granularity_us, AMPHION_SCHED_LONGEST_US);
  EXPECT_EQ(all.hand_over, 1u);
  EXPECT_EQ(all.pad, 0u);
  EXPECT_EQ(good("hand-over=on").hand_over, 2u);
  EXPECT_EQ(good("threshold=0").threshold, 1u);
  EXPECT_EQ(good("threshold=1").threshold, AMPHION_SCHED_THRESHOLD_ONE + 1);
}

TEST(SchedChoice, TheFirstIllegalValueIsRefused) {
  for (const char* text : {"threshold=1.001", "threshold=-0.001", "threshold=nan", "threshold=", "threshold=0.5x",
                           "latency=0.099", "latency=100.001", "granularity=0", "granularity=inf"}) {
    EXPECT_EQ(wrong(text), "\"" + std::string(text) + "\" is out of bounds");
  }
  for (const char* text : {"", "fifo", "DFT", "dft=1", "hand-over", "hand-over=yes", "policy=bal", "latency 4"}) {
    EXPECT_EQ(wrong(text), "\"" + std::string(text) + "\" is not known");
  }
  EXPECT_EQ(wrong("bal,"), "\"\" is not known");
  EXPECT_EQ(wrong("bal,sbco"), "\"sbco\" is said twice");
  EXPECT_EQ(wrong("latency=4,latency=4"), "\"latency=4\" is said twice");
}

}  // namespace
}  // namespace amphion::emulator
