// SPDX-License-Identifier: Apache-2.0
// Input into a clone: in order, exactly once, whatever the queue's room and whenever amphiond dies.
#include "cloud-side/amphiond/input_feed.hpp"

#include <gtest/gtest.h>
#include <linux/input-event-codes.h>

#include <thread>

#include "link/memory_files.hpp"
#include "tests/unit/cloud/fake_clone.hpp"
#include "tests/unit/cloud/scratch.hpp"

namespace amphion::cloud::testing {
namespace {

using Step = InputFeed::Step;
using namespace std::chrono_literals;

constexpr auto no_patience = 0ms;

class InputFeedTest : public ::testing::Test {
 protected:
  InputFeedTest() {
    journal_ = std::move(*link::Journal::open(files_, "/journal"));
    process_->memory = 0;
  }
  void type(std::uint16_t code, std::int32_t value) {
    const link::InputEvent frame[] = {{EV_KEY, code, value}, {EV_SYN, SYN_REPORT, 0}};
    ASSERT_TRUE(journal_->append(frame));
  }
  void run(InputFeed& feed) {
    for (int i = 0; i < 1000; ++i) {
      const auto step = feed.step(clone_);
      ASSERT_TRUE(step);
      if (*step != Step::moved) return;
    }
  }
  [[nodiscard]] std::vector<int> keys() const {
    std::vector<int> codes;
    for (const auto& event : process_->received) {
      if (event.type == EV_KEY) codes.push_back(event.code);
    }
    return codes;
  }

  Scratch scratch_;
  link::MemoryFiles files_;
  std::unique_ptr<link::Journal> journal_;
  std::shared_ptr<FakeProcess> process_ = std::make_shared<FakeProcess>();
  FakeClone clone_{process_};
  std::filesystem::path checkpoint_ = scratch_.path() / "input";
};

TEST_F(InputFeedTest, gives_everything_in_order) {
  InputFeed feed(*journal_, checkpoint_, no_patience);
  process_->used = 65534;  // it wraps
  ASSERT_TRUE(feed.begin(clone_, 0).ok());
  for (std::uint16_t code = 1; code <= 10; ++code) type(code, 1);
  run(feed);
  EXPECT_EQ(keys(), (std::vector<int>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}));
  EXPECT_EQ(feed.reached(), 20u);
}

TEST_F(InputFeedTest, waits_for_room_and_drops_nothing) {
  InputFeed feed(*journal_, checkpoint_, no_patience);
  process_->room = 4;
  ASSERT_TRUE(feed.begin(clone_, 0).ok());
  for (std::uint16_t code = 1; code <= 5; ++code) type(code, 1);
  run(feed);
  EXPECT_EQ(keys().size(), 2u);
  EXPECT_EQ(feed.reached(), 4u);
  process_->room = 64;
  run(feed);
  EXPECT_EQ(keys(), (std::vector<int>{1, 2, 3, 4, 5}));
}

TEST_F(InputFeedTest, starts_behind_what_the_state_has_received) {
  type(1, 1);
  type(2, 1);
  InputFeed feed(*journal_, checkpoint_, no_patience);
  ASSERT_TRUE(feed.begin(clone_, 2).ok());
  run(feed);
  EXPECT_EQ(keys(), (std::vector<int>{2}));
}

// A clone that goes on from its docking after the journal was trimmed: what is gone is skipped, nothing is repeated.
TEST_F(InputFeedTest, goes_on_behind_what_the_journal_no_longer_has) {
  for (std::uint16_t code = 1; code <= 5; ++code) type(code, 1);
  ASSERT_TRUE(journal_->trim(6).ok());
  InputFeed feed(*journal_, checkpoint_, no_patience);
  ASSERT_TRUE(feed.begin(clone_, 0).ok());
  run(feed);
  EXPECT_EQ(keys(), (std::vector<int>{4, 5}));
  EXPECT_EQ(feed.reached(), 10u);
}

// amphiond dies between injecting and writing it down, or between writing it down and injecting: the used index knows.
TEST_F(InputFeedTest, an_adopted_clone_gets_nothing_twice_and_misses_nothing) {
  for (const bool arrived : {true, false}) {
    InputFeed first(*journal_, checkpoint_, no_patience);
    const std::uint64_t base = journal_->last();
    process_->received.clear();
    process_->room = 64;
    ASSERT_TRUE(first.begin(clone_, base).ok());
    for (std::uint16_t code = 1; code <= 6; ++code) type(code, 1);
    ASSERT_TRUE(first.step(clone_));
    if (!arrived) process_->room = 0;
    process_->deaf = arrived ? 1 : 0;
    EXPECT_EQ(first.step(clone_).ok(), !arrived);
    InputFeed second(*journal_, checkpoint_, no_patience);
    ASSERT_TRUE(second.adopt(clone_).ok());
    EXPECT_EQ(second.reached(), base + (arrived ? 4 : 2));
    process_->room = 64;
    run(second);
    EXPECT_EQ(keys(), (std::vector<int>{1, 2, 3, 4, 5, 6}));
  }
}

// A guest repeats a key by itself when its release is late: the two go together.
TEST_F(InputFeedTest, a_press_goes_with_its_release) {
  InputFeed feed(*journal_, checkpoint_, 1h);
  ASSERT_TRUE(feed.begin(clone_, 0).ok());
  type(30, 1);
  EXPECT_EQ(*feed.step(clone_), Step::wait);
  EXPECT_TRUE(process_->received.empty());
  type(30, 0);
  EXPECT_EQ(*feed.step(clone_), Step::moved);
  const std::vector<link::InputEvent> together{{EV_KEY, 30, 1}, {EV_KEY, 30, 0}, {EV_SYN, SYN_REPORT, 0}};
  EXPECT_EQ(process_->received, together);
  EXPECT_EQ(feed.reached(), 4u);
}

TEST_F(InputFeedTest, a_press_that_something_else_follows_does_not_wait) {
  InputFeed feed(*journal_, checkpoint_, 1h);
  ASSERT_TRUE(feed.begin(clone_, 0).ok());
  type(KEY_LEFTSHIFT, 1);
  type(30, 1);
  type(30, 0);
  run(feed);
  EXPECT_EQ(keys(), (std::vector<int>{KEY_LEFTSHIFT, 30, 30}));
}

TEST_F(InputFeedTest, a_held_key_is_given_after_a_while) {
  InputFeed feed(*journal_, checkpoint_, 30ms);
  ASSERT_TRUE(feed.begin(clone_, 0).ok());
  type(30, 1);
  EXPECT_EQ(*feed.step(clone_), Step::wait);
  std::this_thread::sleep_for(40ms);
  EXPECT_EQ(*feed.step(clone_), Step::moved);
}

TEST_F(InputFeedTest, says_when_there_is_no_checkpoint) {
  InputFeed feed(*journal_, checkpoint_, no_patience);
  const auto adopted = feed.adopt(clone_);
  ASSERT_FALSE(adopted.ok());
  EXPECT_EQ(adopted.error().code, link::ErrorCode::damaged);
}

TEST_F(InputFeedTest, passes_over_what_a_keyboard_cannot_say) {
  const link::InputEvent frame[] = {{EV_MSC, MSC_SCAN, 30}, {EV_KEY, 30, 1}, {EV_SYN, SYN_REPORT, 0}};
  const link::InputEvent led[] = {{EV_LED, LED_CAPSL, 1}, {EV_SYN, SYN_REPORT, 0}};
  ASSERT_TRUE(journal_->append(led));
  ASSERT_TRUE(journal_->append(frame));
  InputFeed feed(*journal_, checkpoint_, no_patience);
  ASSERT_TRUE(feed.begin(clone_, 0).ok());
  run(feed);
  EXPECT_EQ(keys(), (std::vector<int>{30}));
  EXPECT_EQ(feed.reached(), 5u);
  EXPECT_EQ(process_->used, 2u);
}

}  // namespace
}  // namespace amphion::cloud::testing
