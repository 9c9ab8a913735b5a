// SPDX-License-Identifier: Apache-2.0
// Input into a clone: in order, exactly once, whatever the queue's room and whenever amphiond dies.
#include "cloud-side/amphiond/input_feed.hpp"

#include <gtest/gtest.h>
#include <linux/input-event-codes.h>

#include "link/memory_files.hpp"
#include "tests/unit/cloud/fake_clone.hpp"
#include "tests/unit/cloud/scratch.hpp"

namespace amphion::cloud::testing {
namespace {

using Step = InputFeed::Step;

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
  InputFeed feed(*journal_, checkpoint_);
  process_->used = 65534;  // it wraps
  ASSERT_TRUE(feed.begin(clone_, 0).ok());
  for (std::uint16_t code = 1; code <= 10; ++code) type(code, 1);
  run(feed);
  EXPECT_EQ(keys(), (std::vector<int>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}));
  EXPECT_EQ(feed.reached(), 20u);
}

TEST_F(InputFeedTest, waits_for_room_and_drops_nothing) {
  InputFeed feed(*journal_, checkpoint_);
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
  InputFeed feed(*journal_, checkpoint_);
  ASSERT_TRUE(feed.begin(clone_, 2).ok());
  run(feed);
  EXPECT_EQ(keys(), (std::vector<int>{2}));
}

// amphiond dies between injecting and writing it down: the used index knows.
TEST_F(InputFeedTest, an_adopted_clone_gets_nothing_twice) {
  InputFeed first(*journal_, checkpoint_);
  ASSERT_TRUE(first.begin(clone_, 0).ok());
  for (std::uint16_t code = 1; code <= 6; ++code) type(code, 1);
  ASSERT_TRUE(first.step(clone_));
  const link::InputEvent unrecorded[] = {{EV_KEY, 2, 1}, {EV_SYN, SYN_REPORT, 0}};
  ASSERT_TRUE(clone_.inject(unrecorded));
  InputFeed second(*journal_, checkpoint_);
  ASSERT_TRUE(second.adopt(clone_).ok());
  EXPECT_EQ(second.reached(), 4u);
  run(second);
  EXPECT_EQ(keys(), (std::vector<int>{1, 2, 3, 4, 5, 6}));
}

TEST_F(InputFeedTest, says_when_there_is_no_checkpoint) {
  InputFeed feed(*journal_, checkpoint_);
  const auto adopted = feed.adopt(clone_);
  ASSERT_FALSE(adopted.ok());
  EXPECT_EQ(adopted.error().code, link::ErrorCode::damaged);
}

TEST_F(InputFeedTest, passes_over_what_a_keyboard_cannot_say) {
  const link::InputEvent frame[] = {{EV_MSC, MSC_SCAN, 30}, {EV_KEY, 30, 1}, {EV_SYN, SYN_REPORT, 0}};
  const link::InputEvent led[] = {{EV_LED, LED_CAPSL, 1}, {EV_SYN, SYN_REPORT, 0}};
  ASSERT_TRUE(journal_->append(led));
  ASSERT_TRUE(journal_->append(frame));
  InputFeed feed(*journal_, checkpoint_);
  ASSERT_TRUE(feed.begin(clone_, 0).ok());
  run(feed);
  EXPECT_EQ(keys(), (std::vector<int>{30}));
  EXPECT_EQ(feed.reached(), 5u);
  EXPECT_EQ(process_->used, 2u);
}

}  // namespace
}  // namespace amphion::cloud::testing
