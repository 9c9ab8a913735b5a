// SPDX-License-Identifier: Apache-2.0
// The log that survives a warm reset: a reset is another RunLog over the same memory, of which only what was cleaned is
// there.
#include "hyp/run_log.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <random>
#include <string>

namespace amphion::hyp {
namespace {

constexpr std::size_t region_bytes = 1024;
using Region = std::array<std::byte, region_bytes>;
alignas(8) Region cached, memory;

void clean(const void* start, std::uint32_t bytes) {
  const auto offset = static_cast<std::size_t>(static_cast<const std::byte*>(start) - cached.data());
  ASSERT_LE(offset + bytes, region_bytes);
  std::memcpy(memory.data() + offset, cached.data() + offset, bytes);
}

class RunLogTest : public testing::Test {
 protected:
  RunLogTest() {
    memory.fill(std::byte{0xa5});
    cached = memory;
  }
  static RunLog reset() {
    cached = memory;
    RunLog log;
    log.begin(cached, clean);
    return log;
  }
  static void say(RunLog& log, std::string_view text) {
    for (const char c : text) log.put(c);
  }
};

TEST_F(RunLogTest, NothingIsTrustedAfterPowerOn) { EXPECT_EQ(reset().last(), ""); }

TEST_F(RunLogTest, NothingIsKeptBeforeTheBeginning) {
  RunLog log;
  log.put('x');
  log.end_in_order();
  EXPECT_EQ(log.last(), "");
}

TEST_F(RunLogTest, LinesSurviveAndABegunOneDoesNot) {
  RunLog log = reset();
  say(log, "one\ntwo\nthr");
  EXPECT_EQ(reset().last(), "one\ntwo\n");
}

TEST_F(RunLogTest, EachRunFindsTheOneBefore) {
  for (int run = 0; run < 5; ++run) {
    RunLog log = reset();
    EXPECT_EQ(log.last(), run == 0 ? "" : "run " + std::to_string(run - 1) + "\n");
    say(log, "run " + std::to_string(run) + "\n");
  }
}

TEST_F(RunLogTest, TheLastRunsLogStaysWhileThisOneIsWritten) {
  RunLog first = reset();
  say(first, "crash\n");
  RunLog second = reset();
  for (int i = 0; i < 1000; ++i) say(second, "busy\n");
  EXPECT_EQ(second.last(), "crash\n");
}

TEST_F(RunLogTest, AnEndInOrderIsNotTold) {
  RunLog first = reset();
  say(first, "crash\n");
  RunLog second = reset();
  say(second, "all well\n");
  second.end_in_order();
  EXPECT_EQ(reset().last(), "") << "nor is the run before it told again";
}

TEST_F(RunLogTest, FullItKeepsTheLatestWholeLines) {
  RunLog log = reset();
  std::string said;
  for (int i = 0; i < 300; ++i) {
    const std::string line = "line " + std::to_string(i) + "\n";
    said += line;
    say(log, line);
    const Region left = memory;  // looked at as if the reset came now
    const RunLog next = reset();
    const std::string_view kept = next.last();
    ASSERT_TRUE(said.ends_with(kept)) << kept;
    if (kept.size() != said.size()) {
      ASSERT_EQ(said[said.size() - kept.size() - 1], '\n');
      ASSERT_GT(kept.size(), region_bytes / 6);
    }
    memory = cached = left;
  }
}

TEST_F(RunLogTest, ALineThatFillsItAllIsCut) {
  RunLog log = reset();
  say(log, std::string(3 * region_bytes, 'x') + "\n");
  const RunLog next = reset();
  EXPECT_TRUE(next.last().ends_with("x\n"));
}

TEST_F(RunLogTest, OneWrongByteAndItIsNotTrusted) {
  for (std::size_t at = 0; at < sizeof(RunLog::Header) + 6; ++at) {
    memory.fill(std::byte{0});
    RunLog log = reset();
    say(log, "crash\n");
    memory[at] ^= std::byte{0x10};
    EXPECT_EQ(reset().last(), "") << at;
  }
}

TEST_F(RunLogTest, AnythingInMemoryIsReadWithinItsBounds) {
  std::mt19937 random(1);
  for (int i = 0; i < 2000; ++i) {
    RunLog log = reset();
    say(log, "crash\n");
    for (int changes = 0; changes < 4; ++changes) {
      memory[random() % (sizeof(RunLog::Header) + 8)] = static_cast<std::byte>(random());
    }
    EXPECT_LE(reset().last().size(), region_bytes);
  }
}

}  // namespace
}  // namespace amphion::hyp
