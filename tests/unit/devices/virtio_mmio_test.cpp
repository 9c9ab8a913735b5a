// SPDX-License-Identifier: Apache-2.0
// The transport: registers, widths, negotiation, and everything that a driver may do wrong with them.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/devices/world.hpp"

namespace amphion::devices::testing {
namespace {

using machine::VirtioSlot;

TEST(VirtioMmio, EverySlotIdentifiesItself) {
  World w;
  for (std::uint32_t slot = 0; slot < machine::virtio_slots; ++slot) {
    Driver d(w, static_cast<VirtioSlot>(slot));
    EXPECT_EQ(d.read(m_magic), machine::virtio_mmio_magic);
    EXPECT_EQ(d.read(m_version), 2u);
    EXPECT_EQ(d.read(m_vendor), machine::virtio_mmio_vendor);
    const auto* model = machine::virtio_model(static_cast<VirtioSlot>(slot));
    EXPECT_EQ(d.read(m_device_id), model != nullptr ? model->device_id : 0u);
  }
}

TEST(VirtioMmio, AnEmptySlotAnswersZeroAndSwallowsWrites) {
  World w;
  Driver d(w, VirtioSlot::disk1);
  for (std::uint32_t offset = 0x10; offset < machine::virtio_slot_bytes; offset += 4) {
    d.write(offset, ~0u);
    EXPECT_EQ(d.read(offset), 0u);
  }
}

TEST(VirtioMmio, OffersTheMachinesFeaturesAndQueues) {
  World w;
  for (const auto slot : {VirtioSlot::disk0, VirtioSlot::network, VirtioSlot::console, VirtioSlot::keyboard,
                          VirtioSlot::entropy, VirtioSlot::balloon}) {
    Driver d(w, slot);
    const auto& model = *machine::virtio_model(slot);
    d.write(m_features_sel, 0);
    EXPECT_EQ(d.read(m_features), static_cast<std::uint32_t>(model.features));
    d.write(m_features_sel, 1);
    EXPECT_EQ(d.read(m_features), static_cast<std::uint32_t>(model.features >> 32));
    d.write(m_features_sel, 2);
    EXPECT_EQ(d.read(m_features), 0u);
    d.write(m_queue_sel, model.queues - 1);
    EXPECT_EQ(d.read(m_queue_num_max), machine::virtio_queue_size_max);
    d.write(m_queue_sel, model.queues);
    EXPECT_EQ(d.read(m_queue_num_max), 0u);
  }
}

TEST(VirtioMmio, RegistersAreWrittenByWordsOnly) {
  World w;
  Driver d(w, VirtioSlot::disk0);
  d.write(m_status, 1, 1);
  EXPECT_EQ(d.read(m_status), 0u);
}

TEST(VirtioMmio, ConfigurationAnswersToBytesAndEndsInOnes) {
  World w;
  Driver d(w, VirtioSlot::disk0);
  EXPECT_EQ(d.read(m_config), 2048u);  // sectors of 1 MiB
  EXPECT_EQ(d.read(m_config + 1, 1), 8u);
  EXPECT_EQ(d.read(m_config + 20, 2), 512u);
  EXPECT_EQ(d.read(m_config + 36, 1), 0xffu);
  EXPECT_EQ(d.read(m_config + 36, 2), 0xffffu);
  EXPECT_EQ(d.read(m_config + 36, 4), ~0u);
  EXPECT_EQ(d.read(machine::virtio_slot_bytes - 4, 4), ~0u);
}

TEST(VirtioMmio, RefusesFeaturesThatItDidNotOffer) {
  World w;
  Driver d(w, VirtioSlot::disk0);
  d.write(m_status, 3);
  d.write(m_driver_features_sel, 1);
  d.write(m_driver_features, 1);
  d.write(m_driver_features_sel, 0);
  d.write(m_driver_features, 1u << 28);  // indirect descriptors
  d.write(m_status, 11);
  EXPECT_EQ(d.read(m_status), 3u);
  d.write(m_driver_features, 0);
  d.write(m_status, 11);
  EXPECT_EQ(d.read(m_status), 11u);
}

TEST(VirtioMmio, RefusesALegacyDriver) {
  World w;
  Driver d(w, VirtioSlot::disk0);
  d.write(m_status, 11);
  EXPECT_EQ(d.read(m_status), 3u);
}

TEST(VirtioMmio, AQueueMustBeWhollyInsideMemoryAndAligned) {
  World w;
  Driver d(w, VirtioSlot::disk0);
  d.negotiate();
  const auto ready = [&](std::uint32_t num, std::uint64_t desc, std::uint64_t avail, std::uint64_t used) {
    d.write(m_queue_sel, 0);
    d.write(m_queue_ready, 0);
    d.write(m_queue_num, num);
    d.write_address(m_desc, desc);
    d.write_address(m_driver, avail);
    d.write_address(m_device, used);
    d.write(m_queue_ready, 1);
    return d.read(m_queue_ready) == 1;
  };
  const std::uint64_t base = machine::ram_base, end = base + (2u << 20);
  EXPECT_TRUE(ready(64, base, base + 0x1000, base + 0x2000));
  EXPECT_TRUE(ready(64, end - 1024, base + 0x1000, base + 0x2000));
  EXPECT_FALSE(ready(64, end - 1008, base + 0x1000, base + 0x2000));
  EXPECT_FALSE(ready(64, base + 8, base + 0x1000, base + 0x2000));
  EXPECT_FALSE(ready(64, base, base + 0x1001, base + 0x2000));
  EXPECT_FALSE(ready(64, base, base + 0x1000, base + 0x2002));
  EXPECT_FALSE(ready(64, base, end - 132, base + 0x2000));
  EXPECT_FALSE(ready(64, base, base + 0x1000, end - 516));
  EXPECT_FALSE(ready(64, ~15ull, base + 0x1000, base + 0x2000));
  EXPECT_TRUE(ready(65, base, base + 0x1000, base + 0x2000));  // 65 is ignored: 64 stays
  d.write(m_queue_num, 8);                                     // in use: ignored
  EXPECT_EQ(d.read(m_queue_ready), 1u);
}

TEST(VirtioMmio, StatusZeroResets) {
  World w;
  Driver d(w, VirtioSlot::disk0);
  d.start();
  d.write(m_status, 0);
  EXPECT_EQ(d.read(m_status), 0u);
  d.write(m_queue_sel, 0);
  EXPECT_EQ(d.read(m_queue_ready), 0u);
  EXPECT_FALSE(d.line());
}

// A device that is restored shows everything anew: after each write the page must read the same.
TEST(VirtioMmio, ThePageShowsAllThatAWriteChanges) {
  struct Write {
    std::uint32_t offset, value;
  };
  constexpr Write writes[] = {
      {m_features_sel, 1}, {m_features_sel, 2}, {m_queue_sel, 1},  {m_queue_sel, 0}, {m_queue_ready, 0},
      {m_queue_sel, 100},  {m_config, 1},       {m_config + 4, 5}, {m_status, 0x8f}, {m_status, 0},
  };
  for (const auto slot : {VirtioSlot::disk0, VirtioSlot::network, VirtioSlot::console, VirtioSlot::keyboard,
                          VirtioSlot::entropy, VirtioSlot::balloon}) {
    World w;
    Driver d(w, slot);
    d.start();
    for (const Write& write : writes) {
      d.write(write.offset, write.value);
      machine::InstanceState state;
      w.model.save(state);
      World again;
      again.model.restore(state);
      EXPECT_TRUE(std::ranges::equal(w.page.registers(), again.page.registers()))
          << "slot " << static_cast<int>(slot) << ", offset " << write.offset << ", value " << write.value;
    }
  }
}

// Whatever a guest writes anywhere, nothing happens but to itself.
TEST(VirtioMmio, RandomRegisterAccessesDoNoHarm) {
  World w;
  Random random(1);
  for (int i = 0; i < 200'000; ++i) {
    const std::uint32_t bytes = 1u << (random() % 3);
    std::uint32_t address = machine::virtio.base + random() % (8 * machine::virtio_slot_bytes + 64);
    if (random() % 4 == 0) address = machine::devices.base + random() % machine::devices.size_bytes;
    address &= ~(bytes - 1);
    std::uint32_t value = random() % 3 == 0 ? random() : random() % 128;
    if (random() % 4 == 0) value = machine::ram_base + (random() & 0x1f'fff0);
    switch (random() % 4) {
      case 0:
        (void)w.model.read(address, bytes);
        break;
      case 1:
        w.model.ring(random() % (machine::virtio_slots + 2), random());
        break;
      default:
        w.model.write(address, bytes, value);
    }
  }
}

}  // namespace
}  // namespace amphion::devices::testing
