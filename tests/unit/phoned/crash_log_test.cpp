// SPDX-License-Identifier: Apache-2.0
// Crash logs: durable, few, never one over another, nothing but text; taken once in a run of the board. The watchdog:
// fed, and ended by its magic word alone.
#include "phone-side/phoned/crash_log.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "link/memory_files.hpp"
#include "phone-side/phoned/watchdog.hpp"

namespace amphion::phoned {
namespace {

using std::chrono::seconds;
using std::chrono::system_clock;

const system_clock::time_point noon = system_clock::from_time_t(1'796'040'000);  // 2026-11-30 12:00:00 UTC
const std::string folder = "/data/crashes";

std::vector<std::string> names(link::Files& files) { return *files.list(folder); }

TEST(CrashLog, IsDurableAndNamedByItsDate) {
  link::MemoryFiles files;
  const auto path = keep_crash_log(files, folder, "panic\n", noon);
  ASSERT_TRUE(path.ok());
  EXPECT_EQ(*path, folder + "/crash-20261130T120000Z.log");
  files.power_off();
  EXPECT_EQ(*files.read(*path, 100), "panic\n");
}

TEST(CrashLog, AClockThatStandsStillOverwritesNothing) {
  link::MemoryFiles files;
  for (const char* text : {"one", "two", "three"}) ASSERT_TRUE(keep_crash_log(files, folder, text, noon).ok());
  ASSERT_EQ(names(files).size(), 3u);
  EXPECT_EQ(*files.read(folder + "/crash-20261130T120000Z-003.log", 100), "three");
}

TEST(CrashLog, TheLatestAreKeptAndOtherFilesStay) {
  link::MemoryFiles files;
  ASSERT_TRUE(files.make_folder(folder).ok());
  ASSERT_TRUE(link::write_durably(files, folder + "/notes", "mine").ok());
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(keep_crash_log(files, folder, "x", noon + seconds(i)).ok());
  const auto left = names(files);
  ASSERT_EQ(left.size(), most_crash_logs + 1);
  EXPECT_EQ(left.front(), "crash-20261130T120012Z.log");
  EXPECT_EQ(left.back(), "notes");
}

TEST(CrashLog, OnlyTextIsKeptAndNotMoreThanItsBound) {
  link::MemoryFiles files;
  std::string text = "a\x1b[2J\r\n\tb\xff";
  text += '\0';
  EXPECT_EQ(*files.read(*keep_crash_log(files, folder, text, noon), 100), "a[2J\n\tb");
  const std::string huge(max_crash_log_bytes + 1, 'x');
  EXPECT_EQ(files.read(*keep_crash_log(files, folder, huge, noon), 2 * huge.size())->size(), max_crash_log_bytes);
}

TEST(CrashLog, AFullDiskIsAnError) {
  link::MemoryFiles files;
  files.set_capacity(3);
  EXPECT_FALSE(keep_crash_log(files, folder, "panic", noon).ok());
}

class OnceTest : public testing::Test {
 protected:
  OnceTest() {
    std::string name = (std::filesystem::temp_directory_path() / "phoned-crash-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~OnceTest() override { std::filesystem::remove_all(path_); }
  void device_says(const std::string& text) { std::ofstream(path_ + "/device") << text; }
  [[nodiscard]] std::string device_took() const {
    std::ifstream in(path_ + "/device", std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  auto keep() { return keep_last_log_once(link::real_files(), path_ + "/device", path_ + "/crashes", path_ + "/mark"); }
  std::string path_;
};

TEST_F(OnceTest, TakenOnceInARunOfTheBoard) {
  device_says("panic\n");
  const auto first = keep();
  ASSERT_TRUE(first.ok() && first->has_value());
  EXPECT_EQ(*link::real_files().read(**first, 100), "panic\n");
  const auto second = keep();
  ASSERT_TRUE(second.ok());
  EXPECT_FALSE(second->has_value());
  EXPECT_EQ(link::real_files().list(path_ + "/crashes")->size(), 1u);
}

TEST_F(OnceTest, NothingToTellMakesNoFile) {
  device_says("");
  const auto kept = keep();
  ASSERT_TRUE(kept.ok());
  EXPECT_FALSE(kept->has_value());
  EXPECT_FALSE(std::filesystem::exists(path_ + "/crashes"));
}

TEST_F(OnceTest, WithoutTheDeviceItIsAnError) { EXPECT_FALSE(keep().ok()); }

TEST_F(OnceTest, TheWatchdogIsFedAndStopsByItsMagicWord) {
  device_says("");
  auto dog = Watchdog::start(path_ + "/device", seconds(16));
  ASSERT_TRUE(dog.ok());
  EXPECT_EQ(dog->timeout(), seconds(16)) << "no driver here that says otherwise";
  dog->feed();
  dog->feed();
  dog->stop();
  EXPECT_EQ(device_took(), std::string("\0\0V", 3));
}

TEST_F(OnceTest, ABoardWithoutAWatchdogSaysSo) {
  const auto dog = Watchdog::start(path_ + "/none", seconds(16));
  ASSERT_FALSE(dog.ok());
  EXPECT_EQ(dog.error().code, link::ErrorCode::not_found);
}

}  // namespace
}  // namespace amphion::phoned
