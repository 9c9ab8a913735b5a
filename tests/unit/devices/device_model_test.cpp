// SPDX-License-Identifier: Apache-2.0
// The address decoder, and a whole model's state carried into another model over the same memory.
#include <gtest/gtest.h>

#include "machine/envelope.hpp"
#include "machine/validate.hpp"
#include "tests/unit/devices/world.hpp"

namespace amphion::devices::testing {
namespace {

using machine::VirtioSlot;
constexpr std::uint64_t buf = Driver::buffers;

TEST(DeviceModel, WhatIsNowhereReadsAllOnes) {
  World w;
  EXPECT_EQ(w.model.read(0x0902'0000, 4), ~0u);
  EXPECT_EQ(w.model.read(machine::pcie_memory.base, 1), 0xffu);
  EXPECT_EQ(w.model.read(machine::pcie_memory.base, 2), 0xffffu);
  EXPECT_EQ(w.model.read(machine::ram_base - 4, 4), ~0u);
  w.model.write(machine::pcie_memory.base, 4, 1);
}

// Everything in a state that is not the reset state.
void use(World& w) {
  w.model.write(machine::pcie_ecam.base + 0x8018, 4, 0x0001'0100);
  Driver disk(w, VirtioSlot::disk0), network(w, VirtioSlot::network), console(w, VirtioSlot::console),
      keyboard(w, VirtioSlot::keyboard), entropy(w, VirtioSlot::entropy), balloon(w, VirtioSlot::balloon);
  for (auto* d : {&disk, &network, &console, &keyboard, &entropy, &balloon}) d->start();
  w.memory.put<std::uint32_t>(buf, 4);
  disk.add(0, {{buf, 16}, {buf + 64, 1, true}});
  disk.notify(0);
  for (std::uint16_t i = 0; i < 4; ++i) keyboard.add(0, {{buf + 0x100 + 8 * i, 8, true}}, i);
  for (std::uint64_t i = 1; i <= 3; ++i) EXPECT_TRUE(w.model.keyboard().offer({i, 1, 30, 1}));
  keyboard.write(m_config, 0x11, 1);
  balloon.add(2, {{buf, 100}});
  balloon.notify(2);
  balloon.write(m_config + 4, 12);
  w.model.balloon().set_target(99);
  w.memory.put<std::uint32_t>(buf, 1);
  w.memory.put<std::uint32_t>(buf + 4, 0x0001'0006);  // port 1 open
  console.add(3, {{buf, 8}});
  console.notify(3);
}

TEST(DeviceModel, StateRoundTrips) {
  World a;
  use(a);
  machine::InstanceState state;
  a.model.save(state);
  EXPECT_EQ(state.input_sequence(), 3u);
  ASSERT_EQ(state.virtio_size(), 6);
  EXPECT_EQ(state.virtio(3).queues(0).last_avail(), 3u);
  EXPECT_EQ(state.virtio(3).queues(0).used(), 3u);

  World b;
  b.memory = a.memory;
  b.model.restore(state);
  machine::InstanceState again;
  b.model.save(again);
  EXPECT_EQ(again.SerializeAsString(), state.SerializeAsString());
  for (const auto& [intid, level] : a.page.levels) EXPECT_EQ(b.page.levels[intid], level) << intid;
  EXPECT_TRUE(std::ranges::equal(a.page.registers(), b.page.registers()));

  // And it goes on: the fourth keyboard buffer is still there.
  EXPECT_TRUE(b.model.keyboard().offer({4, 1, 31, 1}));
  EXPECT_EQ(b.model.keyboard().reached(), 4u);
  EXPECT_EQ(b.memory.get<std::uint16_t>(buf + 0x100 + 24 + 2), 31);
  EXPECT_TRUE(b.model.console().open(1));
}

TEST(DeviceModel, ADeviceThatIsYoungerThanTheStateComesUpReset) {
  World a;
  use(a);
  machine::InstanceState state, again;
  a.model.save(state);
  state.mutable_virtio()->DeleteSubrange(4, 1);  // entropy
  a.model.restore(state);
  a.model.save(again);
  EXPECT_EQ(again.virtio(4).device_id(), machine::virtio_id_entropy);
  EXPECT_EQ(again.virtio(4).status(), 0u);
  EXPECT_EQ(again.virtio(5).SerializeAsString(), state.virtio(4).SerializeAsString());
}

TEST(DeviceModel, AStatisticsBufferThatAnotherEngineHeldComesBack) {
  World a;
  use(a);
  machine::InstanceState state;
  a.model.save(state);
  state.mutable_virtio(5)->mutable_queues(2)->set_last_avail(1);
  World b;
  b.memory = a.memory;
  b.model.restore(state);
  machine::InstanceState again;
  b.model.save(again);
  EXPECT_EQ(again.virtio(5).queues(2).last_avail(), 0u);
}

TEST(DeviceModel, TheGuestHearsThatAPortIsOpenHere) {
  World a;
  use(a);
  machine::InstanceState state;
  a.model.save(state);
  state.mutable_virtio(2)->mutable_console()->mutable_ports(1)->set_host_connected(false);
  World b;
  b.memory = a.memory;
  b.model.restore(state);
  Driver console(b, VirtioSlot::console);
  console.add(2, {{buf + 0x400, 64, true}});
  console.notify(2);
  EXPECT_EQ(b.memory.get<std::uint32_t>(buf + 0x400), 1u);
  EXPECT_EQ(b.memory.get<std::uint16_t>(buf + 0x404), 6);
}

TEST(DeviceModel, ResetForgetsEverythingButWaitingKeys) {
  World a, fresh;
  use(a);
  a.model.reset();
  machine::InstanceState after, first;
  a.model.save(after);
  fresh.model.save(first);
  EXPECT_EQ(after.pcie().SerializeAsString(), first.pcie().SerializeAsString());
  EXPECT_EQ(after.virtio(0).status(), 0u);
  for (const auto& [intid, level] : a.page.levels) EXPECT_FALSE(level) << intid;
}

}  // namespace
}  // namespace amphion::devices::testing
