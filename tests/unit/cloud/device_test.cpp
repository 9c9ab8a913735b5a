// SPDX-License-Identifier: Apache-2.0
// A device's life in the cloud, with real sessions, engines and files, and clones that are doubles: docking, input,
// undocking, refusal, amphiond's death, the clone's death, cut links, full disks, strangers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include "tests/unit/cloud/fake_clone.hpp"
#include "tests/unit/cloud/fake_phone.hpp"
#include "tests/unit/cloud/faulty_files.hpp"
#include "tests/unit/cloud/scratch.hpp"

namespace amphion::cloud::testing {
namespace {

using namespace std::chrono_literals;
using link::Outcome;

template <typename F>
bool eventually(const F& holds, std::chrono::milliseconds limit = 10s) {
  for (const auto end = std::chrono::steady_clock::now() + limit; std::chrono::steady_clock::now() < end;) {
    if (holds()) return true;
    std::this_thread::sleep_for(5ms);
  }
  return holds();
}

class DeviceTest : public ::testing::Test {
 protected:
  DeviceTest() {
    if (std::getenv("AMPHION_TEST_LOG") == nullptr) spdlog::set_level(spdlog::level::off);
    std::memset(phone_.memory().data() + 4096, 'a', 4096);
    std::memset(phone_.memory().data() + (40 << 20), 'b', 8192);
    open();
  }
  ~DeviceTest() override {
    phone_.disconnect();
    device_.reset();
  }
  void open() {
    device_.reset();  // as if amphiond had been killed: clones are not touched
    device_ = std::make_unique<Device>("phone-1", scratch_.path() / "phone-1", files_, link::real_files(), world_,
                                       ShrinkLimits{5ms, 50ms});
  }
  [[nodiscard]] std::filesystem::path folder() const { return scratch_.path() / "phone-1/instances/work"; }
  std::shared_ptr<FakeProcess> clone() { return world_.at(folder() / "run"); }
  void dock() {
    phone_.connect(*device_);
    const auto report = phone_.dock();
    ASSERT_EQ(report.outcome, Outcome::committed) << report.reason;
    ASSERT_TRUE(eventually([&] { return clone() != nullptr && device_->find("work")->status().state() == "running"; }));
  }
  // Exactly one side has it, by both records and by what runs.
  void expect_place(link::pb::Side side) {
    EXPECT_EQ(phone_.record().place, side);
    EXPECT_TRUE(eventually([&] { return (clone() != nullptr) == (side == link::pb::SIDE_CLOUD); }));
    EXPECT_EQ(phone_.record().prepared, 0u);
  }

  Scratch scratch_;
  FaultyFiles files_;
  FakeWorld world_;
  FakePhone phone_;
  std::unique_ptr<Device> device_;
};

TEST_F(DeviceTest, docks_grows_and_comes_home) {
  ASSERT_NO_FATAL_FAILURE(dock());
  EXPECT_TRUE(eventually([&] { return clone()->memory == test_shape.memory_bytes && clone()->vcpus == 2; }));
  clone()->write_memory(8 << 20, std::string(4096, 'c'));
  clone()->write_memory(4096, std::string(4096, '\0'));
  EXPECT_EQ(phone_.undock(), "");
  EXPECT_EQ(phone_.memory()[8 << 20], std::byte{'c'});
  EXPECT_EQ(phone_.memory()[4096], std::byte{0});
  EXPECT_EQ(phone_.memory()[40 << 20], std::byte{'b'});
  EXPECT_EQ(phone_.started, 1);
  expect_place(link::pb::SIDE_PHONE);
}

TEST_F(DeviceTest, a_second_dock_sends_only_what_changed) {
  ASSERT_NO_FATAL_FAILURE(dock());
  ASSERT_EQ(phone_.undock(), "");
  phone_.memory()[50 << 20] = std::byte{'d'};
  const auto report = phone_.dock();
  ASSERT_EQ(report.outcome, Outcome::committed) << report.reason;
  EXPECT_EQ(report.progress.blocks_sent, 1u);
  ASSERT_TRUE(eventually([&] { return clone() != nullptr; }));
  std::ifstream memory(clone()->folder / "memory", std::ios::binary);
  memory.seekg(50 << 20);
  EXPECT_EQ(memory.get(), 'd');
}

TEST_F(DeviceTest, undocking_is_refused_with_figures_and_the_clone_goes_on) {
  ASSERT_NO_FATAL_FAILURE(dock());
  for (int i = 0; i < 3; ++i) clone()->write_memory(std::uint64_t(10 + i) << 20, std::string(1 << 20, 'x'));
  clone()->least = 40u << 20;
  EXPECT_EQ(phone_.undock(1 << 20), "work uses 40 MiB, this phone gives it 1 MiB");  // as its kernel says
  expect_place(link::pb::SIDE_CLOUD);
  EXPECT_TRUE(eventually([&] { return clone()->memory == test_shape.memory_bytes && clone()->vcpus == 2; }));
  EXPECT_FALSE(clone()->paused);
  EXPECT_EQ(phone_.undock(), "");
}

TEST_F(DeviceTest, undocking_what_is_not_here_is_refused) {
  phone_.connect(*device_);
  EXPECT_THAT(phone_.undock(), ::testing::HasSubstr("the cloud has no instance 'work'"));
  ASSERT_NO_FATAL_FAILURE(dock());
  ASSERT_EQ(phone_.undock(), "");
  EXPECT_EQ(phone_.undock(), "work is not in the cloud");
}

TEST_F(DeviceTest, input_reaches_the_clone_once_and_is_acknowledged) {
  ASSERT_NO_FATAL_FAILURE(dock());
  phone_.send_keys(1, 30, 3);
  EXPECT_TRUE(eventually([&] { return phone_.acked() == 6; }));
  phone_.send_keys(1, 30, 4);  // sent again after a broken link, and one more
  EXPECT_TRUE(eventually([&] { return phone_.acked() == 8; }));
  EXPECT_EQ(clone()->received_events(), 8u);
  ASSERT_EQ(phone_.undock(), "");
  EXPECT_EQ(phone_.arrived_input, 8u);
}

TEST_F(DeviceTest, a_restarted_amphiond_adopts_the_clone) {
  ASSERT_NO_FATAL_FAILURE(dock());
  clone()->make_room(2);
  phone_.send_keys(1, 30, 3);
  EXPECT_TRUE(eventually([&] { return phone_.acked() == 2; }));
  const int pid = clone()->pid;
  phone_.disconnect();
  open();
  ASSERT_NE(clone(), nullptr);
  EXPECT_EQ(clone()->pid, pid);
  clone()->make_room(64);
  phone_.connect(*device_);
  EXPECT_TRUE(eventually([&] { return phone_.acked() == 6; }));
  EXPECT_EQ(clone()->received_events(), 6u);
  EXPECT_EQ(phone_.undock(), "");
}

// Its process is what counts: killing it, or starting another beside it, would undo what it did since it was docked.
TEST_F(DeviceTest, a_clone_that_cannot_be_taken_up_is_left_running) {
  ASSERT_NO_FATAL_FAILURE(dock());
  const int pid = clone()->pid;
  phone_.disconnect();
  world_.mute = true;
  open();
  ASSERT_NE(clone(), nullptr);
  EXPECT_EQ(clone()->pid, pid);
  EXPECT_THAT(device_->find("work")->status().note(), ::testing::HasSubstr("cannot be taken up yet"));
  phone_.connect(*device_);
  EXPECT_THAT(phone_.undock(), ::testing::HasSubstr("does not answer"));
  world_.mute = false;
  EXPECT_EQ(phone_.undock(), "");
  EXPECT_EQ(world_.started(), pid);
}

TEST_F(DeviceTest, a_clone_whose_guest_switched_itself_off_is_adopted_as_it_is) {
  ASSERT_NO_FATAL_FAILURE(dock());
  clone()->off = clone()->paused = true;
  const int pid = clone()->pid;
  phone_.disconnect();
  open();
  ASSERT_NE(clone(), nullptr);
  EXPECT_EQ(clone()->pid, pid);
  EXPECT_EQ(device_->find("work")->status().note(), "");
}

// A new process would write new files, and its state would go home with the old one's memory.
TEST_F(DeviceTest, a_clone_that_dies_on_its_way_home_stays_in_the_cloud) {
  ASSERT_NO_FATAL_FAILURE(dock());
  const int pid = clone()->pid;
  phone_.hook = [&](link::Phase phase) {
    if (phase == link::Phase::copying && clone() != nullptr && clone()->pid == pid) clone()->end();
  };
  EXPECT_THAT(phone_.undock(), ::testing::HasSubstr("process is gone"));
  phone_.hook = nullptr;
  expect_place(link::pb::SIDE_CLOUD);
  EXPECT_EQ(world_.started(), pid + 1);
  EXPECT_EQ(phone_.undock(), "");
}

TEST_F(DeviceTest, a_clone_that_died_goes_on_from_its_docking_and_input_is_replayed) {
  ASSERT_NO_FATAL_FAILURE(dock());
  phone_.send_keys(1, 30, 2);
  EXPECT_TRUE(eventually([&] { return phone_.acked() == 4; }));
  clone()->write_memory(4096, "lost");
  const int pid = clone()->pid;
  clone()->end();
  ASSERT_TRUE(eventually([&] { return clone() != nullptr && clone()->pid != pid; }));
  EXPECT_TRUE(eventually([&] { return clone()->received_events() == 4; }));
  std::ifstream memory(clone()->folder / "memory", std::ios::binary);
  memory.seekg(4096);
  EXPECT_EQ(memory.get(), 'a');
  EXPECT_THAT(device_->find("work")->status().note(), ::testing::HasSubstr("is lost"));
}

TEST_F(DeviceTest, a_clone_that_cannot_be_kept_running_is_reported) {
  ASSERT_NO_FATAL_FAILURE(dock());
  world_.fail_starts = 100;
  clone()->end();
  EXPECT_TRUE(eventually([&] { return device_->find("work")->status().state() == "stopped"; }));
  EXPECT_TRUE(eventually([&] { return !device_->find("work")->status().note().empty(); }));
  EXPECT_THAT(device_->find("work")->status().note(), ::testing::HasSubstr("QEMU does not start"));
}

TEST_F(DeviceTest, a_stopped_instance_is_started_again_to_come_home) {
  ASSERT_NO_FATAL_FAILURE(dock());
  world_.fail_starts = 100;
  clone()->end();
  EXPECT_TRUE(eventually([&] { return device_->find("work")->status().note() != ""; }));
  EXPECT_THAT(phone_.undock(), ::testing::HasSubstr("QEMU does not start"));
  world_.fail_starts = 0;
  EXPECT_EQ(phone_.undock(), "");
}

TEST_F(DeviceTest, a_cloud_that_cannot_run_clones_refuses_the_dock) {
  world_.can_prepare = false;
  phone_.connect(*device_);
  const auto report = phone_.dock();
  EXPECT_EQ(report.outcome, Outcome::aborted);
  EXPECT_EQ(report.reason, "QEMU does not run here");
  EXPECT_EQ(phone_.resumed, 1);
}

TEST_F(DeviceTest, a_clone_that_died_without_amphiond_is_started_again) {
  ASSERT_NO_FATAL_FAILURE(dock());
  phone_.disconnect();
  device_.reset();
  clone()->end();
  open();
  ASSERT_NE(clone(), nullptr);
  EXPECT_THAT(device_->find("work")->status().note(), ::testing::HasSubstr("went on from the state"));
}

TEST_F(DeviceTest, a_new_session_replaces_the_old_one) {
  phone_.connect(*device_);
  FakePhone second;
  second.connect(*device_);
  EXPECT_TRUE(second.connected());
  EXPECT_TRUE(eventually([&] { return !phone_.connected(); }));
  second.disconnect();
}

TEST_F(DeviceTest, a_phone_that_claims_another_name_is_refused) {
  FakePhone stranger("phone-2");
  stranger.connect(*device_);
  EXPECT_FALSE(eventually([&] { return device_->connected(); }, 200ms));
}

TEST_F(DeviceTest, the_console_flows_both_ways_while_it_is_open) {
  ASSERT_NO_FATAL_FAILURE(dock());
  const auto process = clone();
  link::pb::ConsoleOpen open;
  open.set_instance("work");
  (void)phone_.session().send(open);
  link::pb::ConsoleData data;
  data.set_instance("work");
  data.set_data("ls\n");
  (void)phone_.session().send(data);
  EXPECT_TRUE(eventually([&] {
    const std::lock_guard lock(process->mutex);
    return process->console_in == "ls\n";
  }));
  {
    const std::lock_guard lock(process->mutex);
    process->console_out = "file\n";
  }
  EXPECT_TRUE(eventually([&] { return phone_.console() == "file\n"; }));
}

// The cloud's disk fails at each operation of a dock: refused, the phone goes on, nothing is left, and the next dock
// works.
TEST_F(DeviceTest, a_full_disk_refuses_the_dock_and_leaves_nothing) {
  phone_.connect(*device_);
  for (int operations = 0;; ++operations) {
    ASSERT_LT(operations, 200);
    files_.fail_after(operations);
    const auto report = phone_.dock();
    files_.fail_after(-1);
    if (report.outcome == Outcome::committed) break;
    ASSERT_EQ(report.outcome, Outcome::aborted);
    EXPECT_THAT(report.reason, ::testing::HasSubstr("disk is full"));
    ASSERT_TRUE(eventually([&] { return !std::filesystem::exists(folder()); })) << operations;
    EXPECT_EQ(clone(), nullptr);
  }
  ASSERT_TRUE(eventually([&] { return clone() != nullptr; }));
  expect_place(link::pb::SIDE_CLOUD);
}

class CutTest : public DeviceTest, public ::testing::WithParamInterface<link::Phase> {};

// The link is cut, and amphiond restarted, at a phase of docking; after the next session there is one place.
TEST_P(CutTest, a_dock_ends_in_one_place) {
  phone_.connect(*device_);
  bool cut = false;
  phone_.hook = [&](link::Phase phase) {
    if (phase != GetParam() || cut) return;
    cut = true;
    phone_.session().close();
  };
  (void)phone_.dock();
  ASSERT_TRUE(cut);
  phone_.disconnect();
  open();
  phone_.connect(*device_);
  const bool here = phone_.record().place == link::pb::SIDE_CLOUD;
  ASSERT_TRUE(eventually([&] { return (clone() != nullptr) == here; }));
  if (!here && phone_.dock().outcome == Outcome::committed) {
    ASSERT_TRUE(eventually([&] { return clone() != nullptr; }));
  }
  expect_place(link::pb::SIDE_CLOUD);
}

class UndockCutTest : public CutTest {};

TEST_P(UndockCutTest, ends_in_one_place) {
  ASSERT_NO_FATAL_FAILURE(dock());
  clone()->write_memory(4096, std::string(4096, 'n'));
  bool cut = false;
  phone_.hook = [&](link::Phase phase) {
    if (phase != GetParam() || cut) return;
    cut = true;
    phone_.session().close();
  };
  (void)phone_.undock();
  ASSERT_TRUE(cut);
  phone_.disconnect();
  open();
  phone_.connect(*device_);
  if (phone_.record().place == link::pb::SIDE_CLOUD) {
    expect_place(link::pb::SIDE_CLOUD);
    ASSERT_FALSE(clone()->paused);
    ASSERT_EQ(phone_.undock(), "");
  }
  expect_place(link::pb::SIDE_PHONE);
  EXPECT_EQ(phone_.memory()[4096], std::byte{'n'});
}

INSTANTIATE_TEST_SUITE_P(EachPhase, CutTest,
                         ::testing::Values(link::Phase::offering, link::Phase::copying, link::Phase::stopping,
                                           link::Phase::sending_rest, link::Phase::preparing, link::Phase::committing));

// The phases that a destination goes through.
INSTANTIATE_TEST_SUITE_P(EachPhase, UndockCutTest,
                         ::testing::Values(link::Phase::copying, link::Phase::preparing, link::Phase::committing));

}  // namespace
}  // namespace amphion::cloud::testing
