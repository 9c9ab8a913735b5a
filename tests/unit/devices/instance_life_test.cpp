// SPDX-License-Identifier: Apache-2.0
// How an instance begins, stops, starts again and ends.
#include <thread>

#include "machine/device_tree.hpp"
#include "tests/unit/devices/instance_world.hpp"

namespace amphion::instance {
namespace {

TEST_F(InstanceTest, RefusesWhatCannotBe) {
  Problem problem;
  const auto refused = [&](auto change) {
    InstanceConfig c = config;
    change(c);
    return create_partition(hypervisor, c, problem).partition == nullptr && problem.has_value();
  };
  EXPECT_TRUE(refused([](auto& c) { c.shape.vcpus = 5; }));
  EXPECT_TRUE(refused([](auto& c) { c.vcpus_allowed = 0; }));
  EXPECT_TRUE(refused([](auto& c) { c.vcpus_allowed = 3; }));
  EXPECT_TRUE(refused([](auto& c) { c.bound_bytes = c.shape.memory_bytes + 1; }));
  EXPECT_TRUE(refused([](auto& c) { c.bound_bytes = 0; }));
  std::string error;
  EXPECT_EQ(devices::FileDisk::open("/nowhere", error), nullptr);
  EXPECT_EQ(error, "cannot open the disk /nowhere: No such file or directory");
}

TEST_F(InstanceTest, BootsAtTheKernel) {
  make();
  EXPECT_EQ(hypervisor.last.memory_pages, pages);
  EXPECT_EQ(hypervisor.last.bound_pages, 48u * 256);
  ASSERT_EQ(instance->boot(), Problem{});
  EXPECT_EQ(std::memcmp(fake->memory.data() + machine::kernel_offset, "a kernel", 8), 0);
  EXPECT_EQ(std::memcmp(fake->memory.data() + machine::device_tree_offset, "\xd0\x0d\xfe\xed", 4), 0);
  const auto& v = fake->vcpus[0];
  EXPECT_EQ(v.power, 1u);
  EXPECT_EQ(v.pc, machine::ram_base + machine::kernel_offset);
  EXPECT_EQ(v.r[2], machine::ram_base + machine::device_tree_offset);
  EXPECT_EQ(v.sctlr, 0xc5'0078u);
  EXPECT_EQ(fake->vcpus[1].power, 0u);
}

TEST_F(InstanceTest, AMissingKernelIsOneLine) {
  config.boot.kernel = -1;
  make();
  EXPECT_EQ(*instance->boot(), "the kernel cannot be read: Bad file descriptor");
}

TEST_F(InstanceTest, OffStopsAndResetStartsAgain) {
  make();
  ASSERT_EQ(instance->boot(), Problem{});
  ASSERT_EQ(instance->run(), Problem{});
  {
    const std::lock_guard lock(fake->mutex);
    fake->running = false;
  }
  fake->vcpus[0].pc = 0;
  fake->happen({.events = AMPHION_EVENT_SYSTEM_RESET});
  wait_for([&] { return restarts == 1; });
  EXPECT_EQ(fake->vcpus[0].pc, machine::ram_base + machine::kernel_offset);
  EXPECT_TRUE(fake->running);
  EXPECT_FALSE(instance->stopped());
  EXPECT_EQ(fake->discards, (std::vector<std::pair<std::uint32_t, std::uint32_t>>{{0, pages}}));
  {
    const std::lock_guard lock(fake->mutex);
    fake->running = false;
  }
  fake->happen({.events = AMPHION_EVENT_SYSTEM_OFF | AMPHION_EVENT_OUT_OF_MEMORY});
  wait_for([&] { return off; });
  EXPECT_TRUE(starved);
  EXPECT_TRUE(instance->stopped());
  EXPECT_EQ(instance->pause(), Problem{});
}

// The guest reset itself, and before the thread hears of it somebody asks for a pause.
TEST_F(InstanceTest, APauseDuringAResetHoldsTheNewStart) {
  make();
  ASSERT_EQ(instance->boot(), Problem{});
  ASSERT_EQ(instance->run(), Problem{});
  {
    const std::lock_guard lock(fake->mutex);
    fake->running = false;
  }
  std::thread late([&] {
    {
      std::unique_lock lock(fake->mutex);
      fake->changed.wait(lock, [&] { return fake->refused_to_pause; });
    }
    fake->happen({.events = AMPHION_EVENT_SYSTEM_RESET});
  });
  EXPECT_EQ(instance->pause(), Problem{});
  late.join();
  EXPECT_TRUE(instance->stopped());
  EXPECT_FALSE(fake->running);
  EXPECT_EQ(fake->vcpus[0].pc, machine::ram_base + machine::kernel_offset);
  ASSERT_EQ(instance->run(), Problem{});
}

TEST_F(InstanceTest, EndsWithTheObject) {
  make();
  ASSERT_EQ(instance->run(), Problem{});
  instance.reset();
  EXPECT_TRUE(fake->destroyed);
}

}  // namespace
}  // namespace amphion::instance
