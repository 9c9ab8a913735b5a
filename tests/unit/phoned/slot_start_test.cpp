// SPDX-License-Identifier: Apache-2.0
// What an instance's durable record makes of it when phoned starts: the table, with the files as a power cut leaves
// them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "phone-side/phoned/slot.hpp"
#include "tests/unit/phoned/fakes.hpp"

namespace amphion::phoned {
namespace {

using link::pb::SIDE_CLOUD;
using link::pb::SIDE_PHONE;
using testing::HasSubstr;

class SlotStart : public testing::Test {
 protected:
  SlotStart() {
    std::filesystem::create_directories(folder_.path() + "/records");
    EXPECT_TRUE(list_.open({config_}).ok());
  }

  [[nodiscard]] Slot& start() {
    config_.disk = template_;
    SlotServices services{records_,
                          link::real_files(),
                          list_,
                          logs_,
                          hypervisor_.factory(),
                          folder_.path() + "/instances",
                          [] { return nullptr; },
                          [](link::Message) {}};
    services.off_patience = off_patience_;
    services.off_again = off_again_;
    slot_ = std::make_unique<Slot>(config_, services);
    slot_->start();
    return *slot_;
  }

  [[nodiscard]] link::InstanceRecord record() const {
    link::InstanceRecord record;
    record.instance = "work";
    record.shape = config_.shape;
    record.bound_bytes = config_.bound_bytes;
    record.vcpus_allowed = config_.vcpus_allowed;
    return record;
  }

  void store(const link::InstanceRecord& record) { ASSERT_TRUE(records_.store(record).ok()); }

  // A complete image of a generation with `text` at page 5.
  void image(std::uint64_t generation, const std::string& text) {
    std::filesystem::create_directories(folder_.path() + "/instances/work");
    SavedImage image(folder_.path() + "/instances/work", generation);
    ASSERT_TRUE(image.create(config_.shape.memory_bytes, 8192).ok());
    std::vector<std::byte> page(4096);
    std::memcpy(page.data(), text.data(), text.size());
    ASSERT_TRUE(image.write(link::pb::REGION_MEMORY, 5 * 4096, page).ok());
    ASSERT_TRUE(image.write(link::pb::REGION_DISK0, 0, page).ok());
    ASSERT_TRUE(image.seal("saved").ok());
  }

  // An undock that was cut off between Prepared and Commit.
  void prepare_three() {
    image(3, "prepared");
    link::InstanceRecord mine = record();
    mine.generation = 2;
    mine.attempt = mine.prepared = 3;
    mine.place = SIDE_CLOUD;
    store(mine);
  }

  [[nodiscard]] std::string disk() const {
    std::ifstream in(folder_.path() + "/instances/work/disk0", std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  void make_template() {
    template_ = folder_.path() + "/template";
    std::ofstream(template_, std::ios::binary) << std::string(8192, 't');
  }

  fakes::Folder folder_;
  fakes::FakeHypervisor hypervisor_;
  link::Records records_{link::real_files(), folder_.path() + "/records", SIDE_PHONE};
  InstanceConfig config_ = fakes::small_instance("work");
  InstanceList list_{link::real_files(), folder_.path() + "/instances.list"};
  Logs logs_{link::real_files(), folder_.path() + "/logs"};
  std::string template_;
  std::chrono::milliseconds off_patience_ = std::chrono::seconds(10), off_again_{1};
  std::unique_ptr<Slot> slot_;
};

TEST_F(SlotStart, NewInstanceGetsARecordADiskAndBoots) {
  make_template();
  EXPECT_EQ(start().summary()["state"], "running");
  EXPECT_TRUE(hypervisor_.last->booted);
  EXPECT_EQ(hypervisor_.last->disk(), folder_.path() + "/instances/work/disk0");
  EXPECT_EQ(disk(), std::string(8192, 't'));
  EXPECT_EQ(records_.load("work")->generation, 1u);
}

TEST_F(SlotStart, DiskIsMadeOnlyOnce) {
  make_template();
  (void)start();
  std::ofstream(folder_.path() + "/instances/work/disk0", std::ios::binary) << "mine";
  slot_.reset();
  (void)start();
  EXPECT_EQ(disk(), "mine");
}

TEST_F(SlotStart, HereWithoutImageBootsFromDisk) {
  link::InstanceRecord mine = record();
  mine.generation = mine.attempt = 5;
  mine.base = 5;
  store(mine);
  EXPECT_EQ(start().summary()["state"], "running");
  EXPECT_TRUE(hypervisor_.last->booted);
  EXPECT_EQ(records_.load("work")->base, 5u) << "the cloud still has that copy";
}

TEST_F(SlotStart, HereWithAnImageGoesOnFromItOnce) {
  make_template();
  image(3, "carried");
  link::InstanceRecord mine = record();
  mine.generation = mine.attempt = mine.saved = 3;
  mine.input_sequence = 40;
  store(mine);
  EXPECT_EQ(start().summary()["state"], "running");
  EXPECT_FALSE(hypervisor_.last->booted);
  EXPECT_TRUE(hypervisor_.last->running);
  EXPECT_EQ(hypervisor_.last->loaded, "saved");
  EXPECT_EQ(hypervisor_.last->text(5), "carried");
  EXPECT_EQ(disk().substr(0, 7), "carried") << "its disk came with it";
  EXPECT_EQ(records_.load("work")->saved, 0u);
  slot_.reset();
  (void)start();
  EXPECT_TRUE(hypervisor_.last->booted) << "an image is used for one start only";
}

TEST_F(SlotStart, DockedStaysDockedAndHasNoCopyInMemory) {
  link::InstanceRecord mine = record();
  mine.generation = mine.attempt = mine.base = 2;
  mine.place = SIDE_CLOUD;
  store(mine);
  EXPECT_EQ(start().summary()["state"], "docked");
  EXPECT_EQ(hypervisor_.count, 0);
  EXPECT_EQ(records_.load("work")->base, 0u);
  EXPECT_THAT(slot_->view().lines, testing::Contains(HasSubstr("It is in the cloud")));
}

TEST_F(SlotStart, KeysOfADockedInstanceAreKeptAcrossARestart) {
  link::InstanceRecord mine = record();
  mine.generation = mine.attempt = 2;
  mine.place = SIDE_CLOUD;
  mine.input_sequence = 10;
  store(mine);
  start().keys(std::vector<Frame>{fakes::tap(30)});
  EXPECT_EQ(slot_->journal()["waiting"], 2u);
  slot_.reset();
  EXPECT_EQ(start().journal()["last"], 12u);
  EXPECT_EQ(slot_->journal()["waiting"], 2u);
}

TEST_F(SlotStart, PreparedAndNotCommittedAsksTheCloud) {
  prepare_three();
  EXPECT_EQ(start().summary()["state"], "asking");
  EXPECT_EQ(hypervisor_.count, 0);
}

TEST_F(SlotStart, TheCloudSaysCommittedSoItStartsHere) {
  prepare_three();
  (void)start();
  link::pb::Claim theirs;
  theirs.set_instance("work");
  theirs.set_generation(3);
  theirs.set_place(SIDE_PHONE);
  slot_->reconcile(&theirs);
  EXPECT_EQ(slot_->summary()["state"], "running");
  EXPECT_EQ(hypervisor_.last->text(5), "prepared");
  EXPECT_EQ(records_.load("work")->place, SIDE_PHONE);
}

TEST_F(SlotStart, TheCloudSaysNotCommittedSoTheImageIsDropped) {
  prepare_three();
  (void)start();
  link::pb::Claim theirs;
  theirs.set_instance("work");
  theirs.set_generation(2);
  theirs.set_place(SIDE_CLOUD);
  slot_->reconcile(&theirs);
  EXPECT_EQ(slot_->summary()["state"], "docked");
  EXPECT_FALSE(std::filesystem::exists(folder_.path() + "/instances/work/3.ram"));
}

TEST_F(SlotStart, BehindFollowsAndStops) {
  (void)start();
  const auto live = hypervisor_.last;
  link::pb::Claim theirs;
  theirs.set_instance("work");
  theirs.set_generation(2);
  theirs.set_place(SIDE_CLOUD);
  slot_->reconcile(&theirs);
  EXPECT_EQ(slot_->summary()["state"], "docked");
  EXPECT_EQ(live.use_count(), 2) << "phoned let go of it; the test has two";
  EXPECT_EQ(records_.load("work")->place, SIDE_CLOUD);
}

TEST_F(SlotStart, StoppedByItsOwnerStaysSo) {
  ASSERT_TRUE(list_.change("work", [](InstanceEntry& entry) { entry.stopped = true; }).ok());
  EXPECT_EQ(start().summary()["state"], "stopped");
  EXPECT_EQ(hypervisor_.count, 0);
  EXPECT_THAT(slot_->view().lines, testing::Contains(HasSubstr("amphion start work")));
}

TEST_F(SlotStart, DamagedRecordIsSaidAndNothingStarts) {
  std::ofstream(folder_.path() + "/records/work.record", std::ios::binary) << "rubbish";
  EXPECT_EQ(start().summary()["state"], "failed");
  EXPECT_EQ(hypervisor_.count, 0);
}

TEST_F(SlotStart, NoMemoryForItIsSaid) {
  hypervisor_.refuse = "the pool has 10 MiB left";
  EXPECT_EQ(start().summary()["state"], "failed");
  EXPECT_THAT(slot_->summary()["note"].get<std::string>(), HasSubstr("the pool has 10 MiB left"));
}

TEST_F(SlotStart, GuestThatSwitchesItselfOffIsOff) {
  (void)start();
  hypervisor_.last->events().off();
  EXPECT_EQ(slot_->summary()["state"], "off");
  EXPECT_EQ(slot_->view().live, nullptr);
}

TEST_F(SlotStart, LostWithItsDeviceModelIsFailedAndNothingOfItIsShown) {
  (void)start();
  hypervisor_.last->lose();
  EXPECT_EQ(slot_->summary()["state"], "failed");
  EXPECT_EQ(slot_->summary()["note"], "its device model has ended");
  EXPECT_EQ(slot_->view().live, nullptr);
  EXPECT_THROW((void)slot_->dock([](const nlohmann::json&) {}), CommandError);
  EXPECT_EQ(slot_->summary()["state"], "failed");
}

TEST_F(SlotStart, OneThatStillBootsIsAskedToGoAgain) {
  (void)start();
  hypervisor_.last->presses_unheard = 3;
  const auto answer = slot_->switch_off(false, [](const nlohmann::json&) {});
  EXPECT_EQ(answer["state"], "stopped");
  EXPECT_EQ(hypervisor_.last->received.size(), 4 * 4u) << "four times pressed and released";
}

TEST_F(SlotStart, OneThatDoesNotObeyGoesOn) {
  off_patience_ = std::chrono::milliseconds(5);
  (void)start();
  hypervisor_.last->stubborn = true;
  EXPECT_THROW((void)slot_->switch_off(false, [](const nlohmann::json&) {}), CommandError);
  EXPECT_EQ(slot_->summary()["state"], "running");
  EXPECT_TRUE(hypervisor_.last->running);
  EXPECT_FALSE(list_.find("work")->stopped);
}

TEST_F(SlotStart, MovesWithoutACloudAreRefusedAndItGoesOn) {
  (void)start();
  const auto no_progress = [](const nlohmann::json&) {};
  EXPECT_THROW((void)slot_->dock(no_progress), CommandError);
  EXPECT_EQ(slot_->summary()["state"], "running");
  try {
    (void)slot_->undock(no_progress);
    FAIL();
  } catch (const CommandError& error) {
    EXPECT_STREQ(error.what(), "work is not docked; it is on this phone");
  }
}

}  // namespace
}  // namespace amphion::phoned
