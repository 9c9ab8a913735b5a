// SPDX-License-Identifier: Apache-2.0
// The floor of time: clocks that wake in 1970, lie in the future, jump back while the phone runs, and pass 2038; a
// cloud that lies; how often the file is written; power cuts.
#include "phone-side/phoned/time_floor.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "link/memory_files.hpp"

namespace amphion::phoned {
namespace {

constexpr std::int64_t hour = 3600;
const std::int64_t seen = link::seconds_of(2026, 11, 21);

class FakeClock final : public BoardClock {
 public:
  std::int64_t now_s() override { return now; }
  std::int64_t passed_s() override { return passed; }
  link::Status set(std::int64_t seconds) override {
    ++sets;
    if (stuck) return {link::ErrorCode::io, "not permitted"};
    now = seconds;
    return {};
  }
  void go_on(std::int64_t seconds) {
    now += seconds;
    passed += seconds;
  }
  std::int64_t now = 5, passed = 5;
  int sets = 0;
  bool stuck = false;
};

class CountedFiles : public link::MemoryFiles {
 public:
  link::Status rename(const std::string& from, const std::string& to) override {
    ++writes;
    return MemoryFiles::rename(from, to);
  }
  int writes = 0;
};

class TimeFloorTest : public testing::Test {
 protected:
  TimeFloorTest() {
    (void)files_.make_folder("/data");
    keep(std::to_string(seen) + "\n");
  }
  void keep(const std::string& text) {
    ASSERT_TRUE(link::write_durably(files_, "/data/clock", text).ok());
    files_.writes = 0;
  }
  [[nodiscard]] std::string kept() { return *files_.read("/data/clock", 100); }
  void start() {
    floor_ = std::make_unique<TimeFloor>(files_, "/data/clock", clock_);
    floor_->start();
  }
  void run(std::int64_t seconds) {
    for (; seconds > 0; seconds -= 60) {
      clock_.go_on(60);
      floor_->look();
    }
  }
  // One whose certificate is valid from a month before `seen` for ten years.
  static link::Peer cloud() {
    link::Peer peer;
    peer.valid_from = seen - 30 * 24 * hour;
    peer.valid_to = seen + 3650 * 24 * hour;
    return peer;
  }

  CountedFiles files_;
  FakeClock clock_;
  std::unique_ptr<TimeFloor> floor_;
};

TEST_F(TimeFloorTest, AClockThatWakesIn1970IsSetAndItIsSaid) {
  start();
  EXPECT_EQ(clock_.now, seen);
  EXPECT_EQ(floor_->status()["set"], "from 1970-01-01 00:00:05 UTC to 2026-11-21 00:00:00 UTC: it was seen before");
}

TEST_F(TimeFloorTest, AClockThatIsAheadIsLeftAndDoesNotRaiseTheFloor) {
  clock_.now = seen + 9000 * 24 * hour;
  start();
  run(3 * hour);
  floor_->stop();
  EXPECT_EQ(clock_.sets, 0);
  EXPECT_EQ(kept(), std::to_string(seen + 3 * hour) + "\n");
}

TEST_F(TimeFloorTest, AClockThatJumpsBackWhileItRunsIsSetAgain) {
  start();
  run(2 * hour);
  clock_.now = 1000;
  floor_->look();
  EXPECT_EQ(clock_.now, seen + 2 * hour);
  clock_.now -= 600;  // a little is as good
  floor_->look();
  EXPECT_EQ(clock_.now, seen + 2 * hour);
}

TEST_F(TimeFloorTest, SetsNothingWithoutAFloorAndBelievesNoDamagedOne) {
  for (const char* text : {"", "x", "12", "-5", "99999999999999999999", "1795219200x", "1795219200\n\n"}) {
    keep(text);
    clock_ = {};
    start();
    EXPECT_EQ(clock_.sets, 0) << text;
  }
  ASSERT_TRUE(files_.remove("/data/clock").ok());
  start();
  EXPECT_EQ(clock_.sets, 0);
  floor_->at_least(seen, "its certificate is from then");
  EXPECT_EQ(clock_.now, seen);
  floor_->at_least(5, "nonsense");
  EXPECT_EQ(clock_.now, seen);
}

TEST_F(TimeFloorTest, WorksAfter2038) {
  const std::int64_t later = link::seconds_of(2040, 2, 29);
  keep(std::to_string(later));
  start();
  EXPECT_EQ(clock_.now, later);
  run(hour);
  floor_->stop();
  EXPECT_EQ(kept(), std::to_string(later + hour) + "\n");
}

TEST_F(TimeFloorTest, TheCloudMovesTheClockForwardWithinItsCertificate) {
  start();
  floor_->cloud_says(seen + 400 * hour, cloud());
  EXPECT_EQ(clock_.now, seen + 400 * hour);
  EXPECT_EQ(floor_->status()["cloud_ahead_s"], 400 * hour);
  const auto now = clock_.now;
  floor_->cloud_says(seen, cloud());                  // back: never
  floor_->cloud_says(0, cloud());                     // says nothing
  floor_->cloud_says(cloud().valid_to + 1, cloud());  // its certificate would not be valid then
  floor_->cloud_says(cloud().valid_from - 1, cloud());
  EXPECT_EQ(clock_.now, now);
  floor_->cloud_says(cloud().valid_to, cloud());  // the last that counts
  EXPECT_EQ(clock_.now, cloud().valid_to);
}

TEST_F(TimeFloorTest, IsWrittenSeldomWhateverTheCloudSays) {
  start();
  run(24 * hour);
  EXPECT_LE(files_.writes, 24);
  EXPECT_GE(files_.writes, 20);
  files_.writes = 0;
  for (int i = 1; i <= 1000; ++i) floor_->cloud_says(seen + (48 + i) * 2 * hour, cloud());
  EXPECT_LE(files_.writes, 1);
  floor_->stop();
  EXPECT_EQ(kept(), std::to_string(seen + 1048 * 2 * hour) + "\n");
}

TEST_F(TimeFloorTest, APowerCutLosesAnHourAtMost) {
  start();
  run(10 * hour);
  files_.power_off();
  clock_ = {};
  start();
  EXPECT_GE(clock_.now, seen + 9 * hour);
  EXPECT_LE(clock_.now, seen + 10 * hour);
}

TEST_F(TimeFloorTest, ADiskThatFailsAndAClockThatCannotBeSetAreBorne) {
  clock_.stuck = true;
  files_.fail_after(0);
  start();
  run(2 * hour);
  floor_->stop();
  EXPECT_EQ(floor_->status()["floor_s"], seen + 2 * hour);
}

}  // namespace
}  // namespace amphion::phoned
