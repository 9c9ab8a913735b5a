// SPDX-License-Identifier: Apache-2.0
// A ConfinedInstance with a real process as its device model (fake_device_model.cpp), over a partition that is a file
// in memory: what the process is given, and that nothing it does harms phoned or keeps its partition alive.
#include "phone-side/phoned/confined_instance.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <condition_variable>

#include "phone-side/phoned/device_model_process.hpp"
#include "tests/unit/phoned/fakes.hpp"

namespace amphion::phoned {
namespace {

using instance::PartitionConfig;
using instance::Problem;
using testing::HasSubstr;

// Every function but memory and bitmaps is the device model's business.
class FilePartition : public instance::Partition {
 public:
  FilePartition(std::size_t bytes, int& alive)
      : alive_(alive), fd_(memfd_create("partition", MFD_CLOEXEC)), bytes_(bytes) {
    EXPECT_EQ(ftruncate(fd_.get(), static_cast<off_t>(bytes)), 0);
    memory_ = static_cast<std::byte*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0));
    ++alive_;
  }
  ~FilePartition() override {
    munmap(memory_, bytes_);
    --alive_;
  }
  FilePartition(const FilePartition&) = delete;
  FilePartition& operator=(const FilePartition&) = delete;

  std::span<std::byte> memory() override { return {memory_, bytes_}; }
  std::span<std::byte> registers() override { return {}; }
  int descriptor() const override { return fd_.get(); }
  Problem run() override { return {}; }
  Problem ask_pause() override { return {}; }
  Problem allow(std::uint32_t) override { return {}; }
  void wait(int) override {}
  void wake() override {}
  std::optional<instance::Happening> next() override { return {}; }
  void complete(std::uint32_t, std::uint32_t) override {}
  void set_line(std::uint32_t, bool) override {}
  void change_interrupt(std::uint32_t, std::uint32_t, std::uint32_t) override {}
  std::string take_serial() override { return {}; }
  std::size_t give_serial(std::string_view) override { return 0; }
  Problem discard(std::uint32_t, std::uint32_t) override { return {}; }
  Problem log(bool) override { return {}; }
  Problem bitmap(std::uint32_t, std::span<std::uint32_t> bits) override {
    bits[0] = 2;
    return {};
  }
  Problem stats(amphion_stats& out) override {
    out.populated_pages = 5;
    out.sched[1] = {.run_ns = 7, .wait_ns = 6, .switches = 5, .moves = 4, .lends = 3, .debts = 2};
    return {};
  }
  Problem get_vcpu(std::uint32_t, amphion_vcpu&) override { return {}; }
  Problem set_vcpu(std::uint32_t, const amphion_vcpu&) override { return {}; }
  Problem get_gic(amphion_gic&) override { return {}; }
  Problem set_gic(const amphion_gic&) override { return {}; }
  Problem get_uart(amphion_uart&) override { return {}; }
  Problem set_uart(const amphion_uart&) override { return {}; }
  Problem get_counter(std::uint64_t&) override { return {}; }
  Problem set_counter(std::uint64_t) override { return {}; }

 private:
  int& alive_;
  devices::OwnedFd fd_;
  std::size_t bytes_;
  std::byte* memory_;
};

class FileHypervisor : public instance::Hypervisor {
 public:
  Problem info(amphion_info& out) override { return out = {}, Problem{}; }
  Problem scheduling(amphion_sched&) override { return "none"; }
  Problem set_scheduling(const amphion_sched&) override { return "none"; }
  std::unique_ptr<instance::Partition> create(const PartitionConfig& config, Problem&) override {
    auto made = std::make_unique<FilePartition>(std::size_t{config.memory_pages} * 4096, alive);
    descriptor = made->descriptor();
    return made;
  }
  int alive = 0;
  int descriptor = -1;
};

class Confined : public testing::Test {
 protected:
  Confined() {
    std::ofstream(folder_.path() + "/kernel") << "a kernel";
    std::ofstream(folder_.path() + "/disk") << "a disk of some bytes";
  }

  // `wrong`: what its device model does wrong.
  LiveInstance& make(const std::string& wrong = {}) {
    InstanceConfig config = fakes::small_instance("work", folder_.path() + "/disk");
    config.kernel = folder_.path() + "/kernel";
    config.cmdline = wrong;
    LiveInstance::Events events;
    events.keys_reached = [this](std::uint64_t n) { note([&] { reached_ = n; }); };
    events.console = [this](std::string_view text) { note([&] { console_ += text; }); };
    events.lost = [this](const std::string& why) { note([&] { why_ = why; }); };
    auto made = confined_factory(hypervisor_, FAKE_DEVICE_MODEL)(config, folder_.path() + "/disk", events);
    EXPECT_TRUE(made.ok());
    live_ = *made;
    return *live_;
  }
  template <typename Change>
  void note(Change change) {
    const std::lock_guard lock(mutex_);
    change();
    changed_.notify_all();
  }
  template <typename Condition>
  void wait_for(Condition condition) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, condition);
  }
  std::string lost() {
    wait_for([&] { return !why_.empty(); });
    EXPECT_EQ(hypervisor_.alive, 0) << "its vCPUs must not run on";
    EXPECT_TRUE(live_->lost());
    EXPECT_FALSE(live_->run().ok());
    EXPECT_FALSE(live_->read(0, std::span(byte_)).ok());
    EXPECT_EQ(live_->stats().populated_bytes, 0u);
    return why_;
  }

  fakes::Folder folder_;
  FileHypervisor hypervisor_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t reached_ = 0;
  std::string console_, why_;
  std::array<std::byte, 1> byte_{};
  std::shared_ptr<LiveInstance> live_;
};

TEST_F(Confined, TheProcessHasTheInstancesDescriptorsAndNoOthers) {
  auto& live = make();
  ASSERT_TRUE(live.boot(0).ok());
  wait_for([&] { return !console_.empty(); });
  EXPECT_EQ(console_, "a kernel, descriptors: 0 1 2 3 4 5 6 7");
  std::array<std::byte, 10> bytes{};
  ASSERT_TRUE(live.read(0, bytes).ok());
  EXPECT_EQ(std::memcmp(bytes.data(), "its memory", 10), 0);
  std::ifstream disk(folder_.path() + "/disk");
  EXPECT_EQ((std::string(std::istreambuf_iterator<char>(disk), {})), "its diskf some bytes");
  const LiveStats stats = live.stats();
  EXPECT_EQ(stats.populated_bytes, 5u * 4096);
  ASSERT_EQ(stats.vcpus.size(), 2u) << "of its shape";
  EXPECT_EQ(stats.vcpus[1].run_ns, 7u);
  EXPECT_EQ(stats.vcpus[1].wait_ns, 6u);
  EXPECT_EQ(stats.vcpus[1].switches, 5u);
  EXPECT_EQ(stats.vcpus[1].moves, 4u);
  EXPECT_EQ(stats.vcpus[1].lends, 3u);
  EXPECT_EQ(stats.vcpus[1].debts, 2u);
  live_.reset();
  EXPECT_EQ(hypervisor_.alive, 0);
  EXPECT_EQ(why_, "") << "an end that phoned wanted is no loss";
}

TEST_F(Confined, RetiredItKeepsItsMemoryAndMayBeLoadedAgain) {
  auto& live = make();
  ASSERT_TRUE(live.boot(0).ok());
  live.retire();
  EXPECT_FALSE(live.lost());
  EXPECT_TRUE(live.pause().ok());
  EXPECT_FALSE(live.run().ok());
  ASSERT_TRUE(live.read(0, byte_).ok());
  EXPECT_EQ(byte_[0], std::byte{'i'});
  EXPECT_TRUE(live.load("state", 5).ok());
  EXPECT_TRUE(live.run().ok());
}

TEST_F(Confined, KeysConsoleAndDirtyPages) {
  auto& live = make();
  ASSERT_TRUE(live.boot(0).ok());
  live.keys(std::vector<NumberedEvent>{{7, {1, 30, 1}}, {8, {0, 0, 0}}});
  wait_for([&] { return reached_ == 8; });
  live.console_input("abc");
  link::Bitmap dirty(512);
  ASSERT_TRUE(live.take_dirty(link::pb::REGION_MEMORY, dirty).ok());
  EXPECT_EQ(dirty[0], 0x0101'0103u) << "the hypervisor's and the device model's";
}

TEST_F(Confined, AMemoryThatGoesAwayIsZeros) {
  auto& live = make();
  ASSERT_EQ(ftruncate(hypervisor_.descriptor, 4096), 0);
  std::array<std::byte, 8192> bytes;
  bytes.fill(std::byte{1});
  ASSERT_TRUE(live.read(0, bytes).ok());
  EXPECT_EQ(bytes[8191], std::byte{0});
  EXPECT_FALSE(live.write(8192, bytes).ok());
  std::vector<std::uint16_t> picture(picture_pixels);
  EXPECT_TRUE(live.screen(picture));
}

TEST_F(Confined, ADeviceModelThatDiesIsTheInstancesEnd) {
  EXPECT_FALSE(make("dies").boot(0).ok());
  EXPECT_THAT(lost(), HasSubstr("ended by Killed"));
}

TEST_F(Confined, ADeviceModelThatEndsIsTheInstancesEnd) {
  EXPECT_FALSE(make("ends").boot(0).ok());
  EXPECT_EQ(lost(), "its device model has ended (3)");
}

TEST_F(Confined, BrokenProtocolIsTheInstancesEnd) {
  for (const char* wrong : {"no message", "too long", "nothing", "keys that nobody typed", "an answer to nobody"}) {
    why_.clear();
    (void)make(wrong).boot(0);
    EXPECT_THAT(lost(), HasSubstr("its device model")) << wrong;
  }
}

TEST_F(Confined, AnswersThatCannotBeTrueAreTheInstancesEnd) {
  ASSERT_TRUE(make("no state").boot(0).ok());
  EXPECT_THAT(live_->save().error().text, HasSubstr("saved what is no state"));
  EXPECT_THAT(lost(), HasSubstr("saved what is no state"));
  why_.clear();
  ASSERT_TRUE(make("no bitmap").boot(0).ok());
  link::Bitmap dirty(512);
  EXPECT_FALSE(live_->take_dirty(link::pb::REGION_MEMORY, dirty).ok());
  (void)lost();
  why_.clear();
  ASSERT_TRUE(make("greed").boot(0).ok());
  live_->console_input("abc");
  (void)lost();
}

TEST_F(Confined, ItsProblemsAreOnePrintableLine) {
  ASSERT_TRUE(make("a problem").boot(0).ok());
  const auto status = live_->pause();
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().text.substr(0, 16), "lines??[31m and ");
  EXPECT_LE(status.error().text.size(), 200u);
}

TEST_F(Confined, OneThatDoesNotAnswerIsEnded) {
  const int fd = open((folder_.path() + "/disk").c_str(), O_RDWR | O_CLOEXEC);
  const devices::OwnedFd file(fd);
  DeviceModelProcess process(
      FAKE_DEVICE_MODEL, "work", {fd, fd, fd, fd},
      {[](const instance::pb::Report&) { return true; }, [this](const std::string& why) { note([&] { why_ = why; }); }},
      std::chrono::milliseconds(100));
  instance::pb::Request request;
  request.mutable_setup()->set_cmdline("silence");
  (void)process.ask(request);
  request.mutable_run();
  EXPECT_EQ(process.ask(request).error().text, "its device model does not answer");
  wait_for([&] { return !why_.empty(); });
}

TEST_F(Confined, OneThatCannotBeStartedIsSaid) {
  DeviceModelProcess process("/nowhere", "work", {0}, {});
  EXPECT_THAT(process.ask({}).error().text, HasSubstr("/nowhere cannot be started"));
}

}  // namespace
}  // namespace amphion::phoned
