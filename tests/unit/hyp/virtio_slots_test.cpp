// SPDX-License-Identifier: Apache-2.0
#include "hyp/virtio_slots.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <thread>

#include "tests/unit/hyp/fakes.hpp"

namespace amphion::hyp {
namespace {

constexpr std::uint32_t slot_bytes = machine::virtio_slot_bytes;
constexpr std::uint32_t queue_notify = 0x50, interrupt_status = 0x60, interrupt_ack = 0x64;

struct Slots {
  Vgic vgic;
  FakeMaintenance maintenance;
  VirtioSlots slots{vgic, maintenance};
  amphion_request_page requests{};
  std::array<std::uint32_t, AMPHION_PAGE_BYTES / 4> page{};
  static constexpr Phys place{0x8000'0000};

  Slots() {
    vgic.init(2, 4, nullptr);
    page.fill(0x1234'5678);
    slots.attach(requests, place, page.data());
  }
  std::uint32_t status(std::uint32_t slot) { return page[(slot * slot_bytes + interrupt_status) / 4]; }
  bool high(std::uint32_t slot) { return vgic.level(0, machine::virtio_irq + slot); }
};

TEST(VirtioSlots, BeginWithoutInterruptsAndCleaned) {
  Slots s;
  for (std::uint32_t slot = 0; slot < AMPHION_VIRTIO_SLOTS; ++slot) EXPECT_EQ(s.status(slot), 0u);
  EXPECT_EQ(s.page[0], 0x1234'5678u);
  EXPECT_EQ(s.maintenance.cleaned, std::vector{Slots::place});
}

TEST(VirtioSlots, RingOnceUntilTheHostHasLooked) {
  Slots s;
  const std::uint32_t slot3 = 3 * slot_bytes + queue_notify;
  EXPECT_TRUE(s.slots.write(slot3, 5)->tell_host);
  EXPECT_FALSE(s.slots.write(slot3, 31)->tell_host);
  EXPECT_TRUE(s.slots.write(queue_notify, 0)->tell_host);  // another slot
  EXPECT_EQ(s.requests.rung, 1u << 3 | 1u << 0);
  EXPECT_EQ(s.requests.doorbell[3], 1u << 31 | 1u << 5);
  s.requests.rung = 0;
  EXPECT_TRUE(s.slots.write(slot3, 5)->tell_host);
}

TEST(VirtioSlots, IgnoreQueuesThatNobodyHas) {
  Slots s;
  for (const std::uint32_t queue : {32u, 33u, ~0u}) EXPECT_FALSE(s.slots.write(queue_notify, queue)->tell_host);
  EXPECT_EQ(s.requests.rung, 0u);
  EXPECT_EQ(s.requests.doorbell[0], 0u);
}

TEST(VirtioSlots, LeaveEverythingElseToTheDeviceModel) {
  Slots s;
  for (std::uint32_t offset = 0; offset < AMPHION_PAGE_BYTES; offset += 4) {
    const std::uint32_t reg = offset % slot_bytes;
    const bool finished = s.slots.write(offset, 0).has_value();
    EXPECT_EQ(finished, reg == queue_notify || reg == interrupt_ack) << std::hex << offset;
  }
}

TEST(VirtioSlots, LineFollowsStatus) {
  Slots s;
  static_cast<void>(s.slots.change_status(7, 0, 3));
  EXPECT_TRUE(s.high(7));
  EXPECT_EQ(s.status(7), 3u);
  ASSERT_TRUE(s.slots.write(7 * slot_bytes + interrupt_ack, 1));
  EXPECT_EQ(s.status(7), 2u);
  EXPECT_TRUE(s.high(7));
  ASSERT_TRUE(s.slots.write(7 * slot_bytes + interrupt_ack, ~0u));
  EXPECT_EQ(s.status(7), 0u);
  EXPECT_FALSE(s.high(7));
  static_cast<void>(s.slots.change_status(7, 0xff, 1));  // cleared first, then set
  EXPECT_EQ(s.status(7), 1u);
  EXPECT_FALSE(s.high(6));
}

TEST(VirtioSlots, PublishTheWholeSlot) {
  Slots s;
  s.maintenance.clear();
  s.slots.publish(2 * slot_bytes + 0x1ff);
  EXPECT_EQ(s.maintenance.cleaned, std::vector{Slots::place + 2 * slot_bytes});
}

// The device sets a bit, the driver acknowledges it, both as fast as they can: in the end line and status agree.
TEST(VirtioSlots, LineAndStatusAgreeAfterARace) {
  Slots s;
  constexpr int rounds = 20'000;
  std::thread device([&] {
    for (int i = 0; i < rounds; ++i) static_cast<void>(s.slots.change_status(0, 0, 1));
  });
  for (int i = 0; i < rounds; ++i) static_cast<void>(s.slots.write(interrupt_ack, 1));
  device.join();
  EXPECT_EQ(s.high(0), s.status(0) != 0);
}

}  // namespace
}  // namespace amphion::hyp
