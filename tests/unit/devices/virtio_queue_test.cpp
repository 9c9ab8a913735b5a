// SPDX-License-Identifier: Apache-2.0
// Hostile rings: each way in which a driver can lie about its queue, then a fixed-seed fuzz of whole rings.
#include <gtest/gtest.h>

#include "tests/unit/devices/world.hpp"

namespace amphion::devices::testing {
namespace {

using machine::VirtioSlot;
constexpr std::uint16_t next = 1, writable = 2, indirect = 4;
constexpr std::uint64_t buf = Driver::buffers;

struct Disk0 : World {
  Driver d{*this, VirtioSlot::disk0};
  Disk0() { d.start(); }
};

TEST(HostileRing, AnIndexTooFarAhead) {
  Disk0 t;
  t.memory.put<std::uint16_t>(t.d.avail(0) + 2, Driver::size + 1);
  t.d.notify(0);
  EXPECT_TRUE(t.d.needs_reset());
  EXPECT_EQ(t.d.used_index(0), 0);
}

TEST(HostileRing, AHeadOutsideTheQueue) {
  Disk0 t;
  t.d.offer(0, Driver::size);
  t.d.notify(0);
  EXPECT_TRUE(t.d.needs_reset());
}

TEST(HostileRing, ANextOutsideTheQueue) {
  Disk0 t;
  t.d.put_desc(0, 0, buf, 16, next, Driver::size);
  t.d.offer(0, 0);
  t.d.notify(0);
  EXPECT_TRUE(t.d.needs_reset());
}

TEST(HostileRing, AChainThatLoops) {
  Disk0 t;
  t.d.put_desc(0, 0, buf, 16, next, 1);
  t.d.put_desc(0, 1, buf, 16, next, 0);
  t.d.offer(0, 0);
  t.d.notify(0);
  EXPECT_TRUE(t.d.needs_reset());
}

TEST(HostileRing, AReadableAfterAWritable) {
  Disk0 t;
  t.d.add(0, {{buf, 16}, {buf, 1, true}, {buf, 16}});
  t.d.notify(0);
  EXPECT_TRUE(t.d.needs_reset());
}

TEST(HostileRing, AnIndirectDescriptorThatWasNotNegotiated) {
  Disk0 t;
  t.d.put_desc(0, 0, buf, 64, indirect, 0);
  t.d.offer(0, 0);
  t.d.notify(0);
  EXPECT_TRUE(t.d.needs_reset());
}

TEST(HostileRing, ABufferOutsideMemory) {
  const std::uint64_t end = machine::ram_base + (2u << 20);
  for (const auto& [address, bytes] : std::vector<std::pair<std::uint64_t, std::uint32_t>>{
           {machine::ram_base - 1, 16}, {end - 15, 16}, {end, 1}, {~0ull - 7, 16}, {machine::ram_base, ~0u}, {0, 4}}) {
    Disk0 t;
    t.d.put_desc(0, 0, address, bytes, writable, 0);
    t.d.offer(0, 0);
    t.d.notify(0);
    EXPECT_TRUE(t.d.needs_reset()) << std::hex << address;
  }
}

TEST(HostileRing, ABrokenDeviceStaysAloneUntilItIsReset) {
  Disk0 t;
  t.d.offer(0, Driver::size);
  t.d.notify(0);
  ASSERT_TRUE(t.d.needs_reset());
  EXPECT_TRUE(t.d.line());  // configuration interrupt
  EXPECT_EQ(t.d.read(m_interrupt_status), 2u);
  t.memory.put<std::uint16_t>(t.d.avail(0) + 2, 0);
  t.d.add(0, {{buf, 16}, {buf + 64, 1, true}});
  t.d.notify(0);
  EXPECT_EQ(t.d.used_index(0), 0);
  t.memory.put<std::uint16_t>(t.d.avail(0) + 2, 0);
  t.d.start();
  t.memory.put<std::uint32_t>(buf, 4);  // flush
  t.d.add(0, {{buf, 16}, {buf + 64, 1, true}});
  t.d.notify(0);
  EXPECT_EQ(t.d.used_index(0), 1);
}

TEST(HostileRing, MemoryThatCannotBeWritten) {
  Disk0 t;
  t.d.add(0, {{buf, 16}, {buf + 64, 1, true}});
  t.memory.refuse_writes = true;
  t.d.notify(0);
  EXPECT_TRUE(t.d.needs_reset());
}

TEST(VirtQueue, IndexesWrapAround) {
  Disk0 t;
  t.memory.put<std::uint32_t>(buf, 4);  // flush
  for (int i = 0; i < 70'000; ++i) {
    t.d.add(0, {{buf, 16}, {buf + 64, 1, true}});
    t.d.notify(0);
  }
  EXPECT_EQ(t.d.used_index(0), static_cast<std::uint16_t>(70'000));
  EXPECT_FALSE(t.d.needs_reset());
}

TEST(VirtQueue, ADriverMaySuppressInterrupts) {
  Disk0 t;
  t.memory.put<std::uint16_t>(t.d.avail(0), 1);
  t.d.add(0, {{buf, 16}, {buf + 64, 1, true}});
  t.d.notify(0);
  EXPECT_EQ(t.d.used_index(0), 1);
  EXPECT_FALSE(t.d.line());
}

// All devices, with rings full of noise in which enough is right to get deep.
TEST(HostileRing, Fuzz) {
  Random random(2);
  for (int round = 0; round < 400; ++round) {
    World w;
    std::vector<Driver> drivers;
    for (const auto slot : {VirtioSlot::disk0, VirtioSlot::network, VirtioSlot::console, VirtioSlot::keyboard,
                            VirtioSlot::entropy, VirtioSlot::balloon})
      drivers.emplace_back(w, slot);
    for (auto& d : drivers) d.start();
    for (int step = 0; step < 60; ++step) {
      auto& d = drivers[random() % drivers.size()];
      const std::uint32_t n = random() % 6;
      for (int i = 0; i < 8; ++i) {
        std::uint64_t address = Driver::buffers + random() % 0x8000;
        if (random() % 40 == 0) address = (std::uint64_t{random()} << 32) | random();
        const std::uint32_t bytes = random() % 40 == 0 ? random() : random() % 2048;
        const auto flags = static_cast<std::uint16_t>(random() % 60 == 0 ? random() : random() % 4);
        const std::uint32_t limit = random() % 60 == 0 ? 128 : Driver::size;
        d.put_desc(n, random() % Driver::size, address, bytes, flags, static_cast<std::uint16_t>(random() % limit));
      }
      for (std::uint32_t a = 0; a < 16; ++a)
        w.memory.put<std::uint32_t>(Driver::buffers + 4ull * (random() % 0x2000), random() % 10);
      d.offer(n, static_cast<std::uint16_t>(random() % Driver::size));
      if (random() % 30 == 0) w.memory.put<std::uint16_t>(d.avail(n) + 2, static_cast<std::uint16_t>(random()));
      d.notify(n);
      w.cable.waiting.resize(random() % 4, std::string(60, 'f'));
      (void)w.model.network().serve();
      (void)w.model.keyboard().offer({step + 1ull, 1, 30, 1});
      const std::array<std::byte, 5> hello{};
      w.model.console().send(random() % 2, hello);
      if (random() % 10 == 0) d.write(m_interrupt_ack, 3);
      if (d.needs_reset() && random() % 4 == 0) {
        for (std::uint32_t q = 0; q < 6; ++q) w.memory.put<std::uint16_t>(d.avail(q) + 2, 0);
        d.start();
      }
    }
  }
}

}  // namespace
}  // namespace amphion::devices::testing
