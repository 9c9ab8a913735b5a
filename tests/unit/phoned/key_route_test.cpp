// SPDX-License-Identifier: Apache-2.0
// The way of keys through dock, abort and undock: exactly once and in order, also when the phone loses power.
#include "phone-side/phoned/key_route.hpp"

#include <gtest/gtest.h>
#include <linux/input-event-codes.h>

#include "link/memory_files.hpp"
#include "phone-side/phoned/file_journal.hpp"

namespace amphion::phoned {
namespace {

Frame tap(std::uint16_t code) { return {{EV_KEY, code, 1}, {EV_SYN, SYN_REPORT, 0}}; }

class KeyRouteTest : public testing::Test {
 protected:
  void open(KeyRoute::Mode mode, std::uint64_t recorded) {
    route_.reset();
    journal_ = std::make_unique<FileJournal>(files_, "/journal", recorded + 1);
    route_ = std::make_unique<KeyRoute>(
        *journal_,
        [this](std::span<const NumberedEvent> events) { local_.insert(local_.end(), events.begin(), events.end()); },
        [this](std::span<const NumberedEvent> events) { sent_.insert(sent_.end(), events.begin(), events.end()); });
    route_->start(mode, recorded);
  }
  void SetUp() override { open(KeyRoute::Mode::local, 0); }

  void deliver(const Frame& frame) { route_->deliver({&frame, 1}); }

  static std::vector<std::uint64_t> numbers(const std::vector<NumberedEvent>& events) {
    std::vector<std::uint64_t> all;
    for (const auto& one : events) all.push_back(one.sequence);
    return all;
  }

  link::MemoryFiles files_;
  std::unique_ptr<FileJournal> journal_;
  std::unique_ptr<KeyRoute> route_;
  std::vector<NumberedEvent> local_;
  std::vector<NumberedEvent> sent_;
};

using Numbers = std::vector<std::uint64_t>;

TEST_F(KeyRouteTest, LocalKeysGoToTheInstanceAndTouchNoDisk) {
  const int before = files_.changes();
  deliver(tap(KEY_A));
  deliver(tap(KEY_B));
  EXPECT_EQ(numbers(local_), (Numbers{1, 2, 3, 4}));
  EXPECT_TRUE(sent_.empty());
  EXPECT_EQ(files_.changes(), before);
}

TEST_F(KeyRouteTest, DockJournalsWhatTheInstanceHasNotReceived) {
  deliver(tap(KEY_A));
  deliver(tap(KEY_B));
  route_->hold();
  deliver(tap(KEY_C));
  EXPECT_EQ(local_.size(), 4u) << "held back while it stops";
  route_->leave(3);  // in the middle of the second frame
  EXPECT_EQ(numbers(route_->waiting()), (Numbers{4, 5, 6}));
  deliver(tap(KEY_D));
  EXPECT_EQ(numbers(sent_), (Numbers{7, 8}));
  EXPECT_EQ(numbers(route_->waiting()), (Numbers{4, 5, 6, 7, 8}));
}

TEST_F(KeyRouteTest, KeysThatWaitTogetherAreSyncedTogether) {
  route_->hold();
  route_->leave(0);
  const int start = files_.changes();
  deliver(tap(KEY_A));
  const int one = files_.changes() - start;
  route_->deliver(std::vector(31, tap(KEY_B)));
  EXPECT_EQ(files_.changes(), start + 2 * one);
  route_->deliver(std::vector(33, tap(KEY_C)));
  EXPECT_EQ(files_.changes(), start + 4 * one) << "more than a record holds";
  EXPECT_EQ(sent_.size(), 130u);
  files_.power_off();
  open(KeyRoute::Mode::away, 0);
  EXPECT_EQ(numbers(route_->waiting()), numbers(sent_));
}

TEST_F(KeyRouteTest, AwayKeysSurviveAPowerCut) {
  deliver(tap(KEY_A));
  route_->hold();
  route_->leave(2);
  deliver(tap(KEY_B));
  files_.power_off();
  open(KeyRoute::Mode::away, 2);
  EXPECT_EQ(numbers(route_->waiting()), (Numbers{3, 4}));
  deliver(tap(KEY_C));
  EXPECT_EQ(numbers(sent_), (Numbers{3, 4, 5, 6}));
}

TEST_F(KeyRouteTest, AbortedDockDeliversEverythingOnce) {
  deliver(tap(KEY_A));
  route_->hold();
  deliver(tap(KEY_B));
  route_->leave(1);
  deliver(tap(KEY_C));
  route_->stay();
  EXPECT_EQ(numbers(local_), (Numbers{1, 2, 3, 4, 5, 6}));
  deliver(tap(KEY_D));
  EXPECT_EQ(numbers(local_), (Numbers{1, 2, 3, 4, 5, 6, 7, 8}));
}

TEST_F(KeyRouteTest, DockAfterAnAbortedDockJournalsAgainFromTheRightNumber) {
  deliver(tap(KEY_A));
  route_->hold();
  route_->leave(0);
  deliver(tap(KEY_B));
  route_->stay();
  route_->hold();
  route_->leave(2);
  EXPECT_EQ(numbers(route_->waiting()), (Numbers{3, 4}));
  files_.power_off();
  open(KeyRoute::Mode::away, 2);
  EXPECT_EQ(numbers(route_->waiting()), (Numbers{3, 4}));
}

TEST_F(KeyRouteTest, AbortBeforeTheStopLosesNothing) {
  route_->hold();
  deliver(tap(KEY_A));
  route_->stay();
  EXPECT_EQ(numbers(local_), (Numbers{1, 2}));
}

TEST_F(KeyRouteTest, AcknowledgedKeysAreNotWaitedFor) {
  route_->hold();
  route_->leave(0);
  deliver(tap(KEY_A));
  deliver(tap(KEY_B));
  route_->acknowledged(2);
  EXPECT_EQ(numbers(route_->waiting()), (Numbers{3, 4}));
  route_->acknowledged(1);
  EXPECT_EQ(route_->progress(), 2u) << "never backwards";
  route_->acknowledged(900);
  EXPECT_EQ(route_->progress(), 4u) << "never beyond what there is";
}

TEST_F(KeyRouteTest, HomecomingDeliversTheRest) {
  route_->hold();
  route_->leave(0);
  for (const std::uint16_t code : std::initializer_list<std::uint16_t>{KEY_A, KEY_B, KEY_C}) deliver(tap(code));
  route_->acknowledged(2);
  route_->arrive(4);
  EXPECT_EQ(numbers(local_), (Numbers{5, 6}));
  deliver(tap(KEY_D));
  EXPECT_EQ(numbers(local_), (Numbers{5, 6, 7, 8}));
}

TEST_F(KeyRouteTest, PowerCutBetweenPreparedAndStartStillDeliversTheRest) {
  route_->hold();
  route_->leave(0);
  deliver(tap(KEY_A));
  deliver(tap(KEY_B));
  files_.power_off();
  open(KeyRoute::Mode::away, 2);
  route_->arrive(2);
  EXPECT_EQ(numbers(local_), (Numbers{3, 4}));
}

TEST_F(KeyRouteTest, ColdBootDoesNotReplayOldKeys) {
  route_->hold();
  route_->leave(0);
  deliver(tap(KEY_A));
  open(KeyRoute::Mode::local, 0);
  EXPECT_TRUE(local_.empty());
  deliver(tap(KEY_B));
  EXPECT_EQ(numbers(local_), (Numbers{3, 4})) << "numbers are never used twice";
}

TEST_F(KeyRouteTest, FailingJournalIsSaidAndNumbersStayWhole) {
  route_->hold();
  route_->leave(0);
  files_.fail_after(0);
  EXPECT_THROW(deliver(tap(KEY_A)), std::runtime_error);
  EXPECT_TRUE(sent_.empty());
  files_.fail_after(-1);
  deliver(tap(KEY_B));
  EXPECT_EQ(numbers(sent_), (Numbers{1, 2}));
}

}  // namespace
}  // namespace amphion::phoned
