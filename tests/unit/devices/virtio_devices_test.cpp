// SPDX-License-Identifier: Apache-2.0
// What each virtio device does for a well-behaved driver, and for one that asks for too much.
#include <gtest/gtest.h>

#include "tests/unit/devices/world.hpp"

namespace amphion::devices::testing {
namespace {

using machine::VirtioSlot;
constexpr std::uint64_t buf = Driver::buffers;
constexpr std::uint64_t data = buf + 0x1000, status = buf + 0x800;

// ---- block ----

struct Blk : World {
  Driver d{*this, VirtioSlot::disk0};
  Blk() { d.start(); }

  std::uint8_t request(std::uint32_t type, std::uint64_t sector, std::uint32_t bytes, bool to_guest) {
    memory.put<std::uint32_t>(buf, type);
    memory.put<std::uint64_t>(buf + 8, sector);
    memory.put<std::uint8_t>(status, 0xee);
    std::vector<Piece> chain{{buf, 16}};
    if (bytes != 0) chain.push_back({data, bytes, to_guest});
    chain.push_back({status, 1, true});
    d.add(0, chain);
    d.notify(0);
    return memory.get<std::uint8_t>(status);
  }
};

TEST(VirtioBlk, WritesAndReadsBack) {
  Blk b;
  for (std::uint32_t i = 0; i < 2048; ++i) b.memory.put<std::uint8_t>(data + i, static_cast<std::uint8_t>(i * 7));
  EXPECT_EQ(b.request(1, 3, 2048, false), 0);
  EXPECT_EQ(b.disk.data[3 * 512 + 9], static_cast<std::byte>(63));
  for (std::uint32_t i = 0; i < 2048; ++i) b.memory.put<std::uint8_t>(data + i, 0);
  EXPECT_EQ(b.request(0, 3, 2048, true), 0);
  EXPECT_EQ(b.memory.get<std::uint8_t>(data + 9), 63);
  EXPECT_EQ(b.d.used_bytes(0, 0), 1u);
  EXPECT_EQ(b.d.used_bytes(0, 1), 2049u);
  EXPECT_TRUE(b.d.line());
  b.d.write(m_interrupt_ack, 1);
  EXPECT_FALSE(b.d.line());
}

TEST(VirtioBlk, FlushReachesTheDisk) {
  Blk b;
  EXPECT_EQ(b.request(4, 0, 0, false), 0);
  EXPECT_EQ(b.disk.flushes, 1);
  b.disk.fail = true;
  EXPECT_EQ(b.request(4, 0, 0, false), 1);
}

TEST(VirtioBlk, TheFirstSectorBeyondTheEndIsAnError) {
  Blk b;
  EXPECT_EQ(b.request(0, 2047, 512, true), 0);
  EXPECT_EQ(b.request(0, 2048, 512, true), 1);
  EXPECT_EQ(b.request(0, 2047, 1024, true), 1);
  EXPECT_EQ(b.request(1, 2048, 512, false), 1);
  EXPECT_EQ(b.request(1, ~0ull, 512, false), 1);
  EXPECT_EQ(b.request(0, 0, 511, true), 1);
  EXPECT_FALSE(b.d.needs_reset());
}

TEST(VirtioBlk, UnknownRequestsAreUnsupported) {
  Blk b;
  EXPECT_EQ(b.request(11, 0, 512, false), 2);
  EXPECT_EQ(b.request(8, 0, 20, true), 0);
}

TEST(VirtioBlk, ARequestWithoutAHeaderOrStatusBreaksTheDevice) {
  Blk b;
  b.d.add(0, {{buf, 15}, {status, 1, true}});
  b.d.notify(0);
  EXPECT_TRUE(b.d.needs_reset());
  Blk c;
  c.d.add(0, {{buf, 16}});
  c.d.notify(0);
  EXPECT_TRUE(c.d.needs_reset());
}

TEST(VirtioBlk, DataMayLieInManyPieces) {
  Blk b;
  b.memory.put<std::uint32_t>(buf, 1);
  b.memory.put<std::uint64_t>(buf + 8, 0);
  b.memory.put<std::uint8_t>(data + 600, 42);
  b.d.add(0, {{buf, 7}, {buf + 7, 9}, {data, 300}, {data + 300, 212}, {data + 512, 512}, {status, 1, true}});
  b.d.notify(0);
  EXPECT_EQ(b.memory.get<std::uint8_t>(status), 0);
  EXPECT_EQ(b.disk.data[600], static_cast<std::byte>(42));
}

TEST(TrackedDisk, NotesWrittenBlocks) {
  TrackedDisk disk(std::make_unique<MemoryDisk>(40 * 4096 + 512));
  EXPECT_EQ(disk.blocks(), 41u);
  const std::vector<std::byte> bytes(512);
  EXPECT_TRUE(disk.write(4095, std::span(bytes).first(1)));
  EXPECT_TRUE(disk.write(2 * 4096 - 1, std::span(bytes).first(2)));
  EXPECT_TRUE(disk.write(40 * 4096, bytes));
  EXPECT_EQ(disk.take_dirty(), (std::vector<std::uint32_t>{0b111, 1u << 8}));
  EXPECT_EQ(disk.take_dirty(), (std::vector<std::uint32_t>{0, 0}));
}

// ---- console ----

struct Console : World {
  Driver d{*this, VirtioSlot::console};
  Console() { d.start(); }

  void control(std::uint32_t id, std::uint16_t event, std::uint16_t value) {
    memory.put<std::uint32_t>(buf, id);
    memory.put<std::uint16_t>(buf + 4, event);
    memory.put<std::uint16_t>(buf + 6, value);
    d.add(3, {{buf, 8}});
    d.notify(3);
  }
  // Offers `count` control buffers; each answer lies at answer(i).
  void offer_control(std::uint16_t count) {
    for (std::uint16_t i = 0; i < count; ++i) d.add(2, {{answer(i), 64, true}}, i);
    d.notify(2);
  }
  static std::uint64_t answer(std::uint32_t i) { return data + 64 * i; }
  [[nodiscard]] std::string event(std::uint32_t i) const {
    return std::to_string(memory.get<std::uint32_t>(answer(i))) + ":" +
           std::to_string(memory.get<std::uint16_t>(answer(i) + 4)) + "=" +
           std::to_string(memory.get<std::uint16_t>(answer(i) + 6));
  }
};

TEST(VirtioConsole, AnnouncesItsPorts) {
  Console c;
  c.control(0, 0, 1);  // device ready; no buffers yet
  EXPECT_EQ(c.d.used_index(2), 0);
  c.offer_control(16);
  ASSERT_EQ(c.d.used_index(2), 2);
  EXPECT_EQ(c.event(0), "0:1=1");
  EXPECT_EQ(c.event(1), "1:1=1");
  c.control(0, 3, 1);
  c.control(1, 3, 1);
  ASSERT_EQ(c.d.used_index(2), 6);
  EXPECT_EQ(c.event(2), "0:4=1");  // a console
  EXPECT_EQ(c.event(3), "0:6=1");
  EXPECT_EQ(c.event(4), "1:7=1");
  EXPECT_EQ(c.memory.text(Console::answer(4) + 8, 19), std::string("org.amphion.grow.0", 19));
  EXPECT_EQ(c.event(5), "1:6=1");
}

TEST(VirtioConsole, OutputGoesToItsPort) {
  Console c;
  const char text[] = "hello";
  for (std::uint32_t i = 0; i < 5; ++i) c.memory.put<char>(data + i, text[i]);
  c.d.add(1, {{data, 5}});
  c.d.notify(1);
  c.d.add(5, {{data, 4}});
  c.d.notify(5);
  EXPECT_EQ(c.ports[0], "hello");
  EXPECT_EQ(c.ports[1], "hell");
}

TEST(VirtioConsole, InputWaitsForTheGuestsBuffers) {
  Console c;
  const std::string text = "some input";
  EXPECT_EQ(c.model.console().send(1, std::as_bytes(std::span(text))), text.size());  // nobody listens: dropped
  c.control(1, 6, 1);
  EXPECT_TRUE(c.model.console().open(1));
  EXPECT_EQ(c.model.console().send(1, std::as_bytes(std::span(text))), text.size());
  EXPECT_EQ(c.d.used_index(4), 0);
  c.d.add(4, {{data, 4, true}}, 0);
  c.d.add(4, {{data + 4, 64, true}}, 1);
  c.d.notify(4);
  EXPECT_EQ(c.d.used_index(4), 2);
  EXPECT_EQ(c.d.used_bytes(4, 0), 4u);
  EXPECT_EQ(c.memory.text(data, 10), text);
}

TEST(VirtioConsole, InputIsBounded) {
  Console c;
  c.control(0, 6, 1);
  const std::string text(VirtioConsole::buffer_bytes + 1, 'x');
  EXPECT_EQ(c.model.console().send(0, std::as_bytes(std::span(text))), VirtioConsole::buffer_bytes);
  EXPECT_EQ(c.model.console().send(0, std::as_bytes(std::span(text))), 0u);
}

TEST(VirtioConsole, UnknownPortsAreIgnored) {
  Console c;
  c.control(2, 6, 1);
  c.control(~0u, 3, 1);
  c.offer_control(4);
  EXPECT_EQ(c.d.used_index(2), 0);
  EXPECT_FALSE(c.d.needs_reset());
}

TEST(VirtioConsole, EmergencyWrite) {
  Console c;
  c.d.write(m_config + 8, 'E');
  EXPECT_EQ(c.ports[0], "E");
}

TEST(VirtioConsole, OutputThatIsTooLargeBreaksTheDevice) {
  Console c;
  constexpr std::uint32_t half = 128 * 1024;  // the same memory twice is as good to the guest
  c.d.add(1, {{data, half}, {data, half}});
  c.d.notify(1);
  EXPECT_EQ(c.ports[0].size(), 2 * half);
  c.d.add(1, {{data, half}, {data, half}, {data, 1}});
  c.d.notify(1);
  EXPECT_TRUE(c.d.needs_reset());
  EXPECT_EQ(c.ports[0].size(), 2 * half);
}

TEST(VirtioConsole, ADriverThatKeepsOfferingIsServedOnceANotification) {
  Console c;
  c.d.refill(1);
  c.d.add(1, {{data, 1}});
  c.d.notify(1);
  EXPECT_EQ(c.d.used_index(1), 1);
  c.d.notify(1);
  EXPECT_EQ(c.d.used_index(1), 2) << "what came meanwhile is there";
  c.d.refill(3);
  c.control(1, 6, 1);
  EXPECT_EQ(c.d.used_index(3), 1);
  c.d.refill(4);
  c.d.add(4, {{data, 8}});  // no room for input
  EXPECT_EQ(c.model.console().send(1, std::as_bytes(std::span("x", 1))), 1u);
  EXPECT_EQ(c.d.used_index(4), 1);
}

// ---- keyboard ----

struct Keyboard : World {
  Driver d{*this, VirtioSlot::keyboard};
  Keyboard() { d.start(); }
  void offer_buffers(std::uint16_t count) {
    for (std::uint16_t i = 0; i < count; ++i) d.add(0, {{data + 8ull * i, 8, true}}, i);
    d.notify(0);
  }
};

TEST(VirtioInput, ConfigurationAnswersBySelection) {
  Keyboard k;
  const auto select = [&](std::uint32_t s, std::uint32_t sub) {
    k.d.write(m_config, s, 1);
    k.d.write(m_config + 1, sub, 1);
    return k.d.read(m_config + 2, 1);
  };
  EXPECT_EQ(select(1, 0), 21u);
  EXPECT_EQ(k.d.read(m_config + 8, 1), static_cast<std::uint32_t>('Q'));
  EXPECT_EQ(select(3, 0), 8u);
  EXPECT_EQ(k.d.read(m_config + 8), 0x0627'0006u);
  EXPECT_EQ(select(0x11, 1), machine::virtio_keyboard_key_bytes);
  EXPECT_EQ(k.d.read(m_config + 8, 1), 0xfeu);
  EXPECT_EQ(select(0x11, 0x11), 1u);
  EXPECT_EQ(select(0x11, 0x14), 1u);
  EXPECT_EQ(select(0x11, 2), 0u);
  EXPECT_EQ(select(0xff, 0xff), 0u);
}

TEST(VirtioInput, EventsWaitAndArriveOnceInOrder) {
  Keyboard k;
  for (std::uint64_t i = 1; i <= 5; ++i)
    EXPECT_TRUE(k.model.keyboard().offer({i, 1, static_cast<std::uint16_t>(30 + i), 1}));
  EXPECT_EQ(k.model.keyboard().reached(), 0u);
  k.offer_buffers(3);
  EXPECT_EQ(k.model.keyboard().reached(), 3u);
  EXPECT_EQ(k.model.keyboard().waiting(), 2u);
  EXPECT_EQ(k.d.used_index(0), 3);
  EXPECT_EQ(k.model.keyboard().used_index(), 3);
  EXPECT_EQ(k.d.used_bytes(0, 0), 8u);
  EXPECT_EQ(k.memory.get<std::uint16_t>(data + 8 + 2), 32);
  EXPECT_EQ(k.memory.get<std::uint32_t>(data + 8 + 4), 1u);
  EXPECT_TRUE(k.d.line());
}

TEST(VirtioInput, ABufferThatIsTooSmallLosesNothing) {
  Keyboard k;
  EXPECT_TRUE(k.model.keyboard().offer({1, 1, 30, 1}));
  k.d.add(0, {{data, 7, true}});
  k.d.notify(0);
  EXPECT_EQ(k.model.keyboard().reached(), 0u);
  k.d.add(0, {{data, 8, true}}, 1);
  k.d.notify(0);
  EXPECT_EQ(k.model.keyboard().reached(), 1u);
}

TEST(VirtioInput, RefusesWhenTooManyWait) {
  Keyboard k;
  std::uint64_t n = 0;
  while (k.model.keyboard().offer({n + 1, 1, 30, 1})) ++n;
  EXPECT_EQ(n, VirtioInput::most_waiting);
  k.offer_buffers(1);
  EXPECT_TRUE(k.model.keyboard().offer({n + 1, 1, 30, 1}));
}

TEST(VirtioInput, EventsSurviveTheDriversReset) {
  Keyboard k;
  EXPECT_TRUE(k.model.keyboard().offer({1, 1, 30, 1}));
  k.d.start();
  k.offer_buffers(1);
  EXPECT_EQ(k.model.keyboard().reached(), 1u);
}

TEST(VirtioInput, TakesLedStates) {
  Keyboard k;
  k.memory.put<std::uint16_t>(buf, 0x11);
  k.memory.put<std::uint16_t>(buf + 2, 1);
  k.memory.put<std::uint32_t>(buf + 4, 1);
  k.d.add(1, {{buf, 8}});
  k.d.notify(1);
  EXPECT_EQ(k.d.used_index(1), 1);
  machine::InstanceState s;
  k.model.save(s);
  EXPECT_EQ(s.virtio(3).input().led_state(), "\x02");
}

// ---- entropy ----

TEST(VirtioEntropy, FillsWhatTheGuestOffersWithinItsBound) {
  World w;
  Driver d(w, VirtioSlot::entropy);
  d.start();
  d.add(0, {{data, 16, true}, {data + 64, 16, true}});
  d.notify(0);
  EXPECT_EQ(w.memory.text(data, 16) + w.memory.text(data + 64, 16), std::string(32, 'r'));
  EXPECT_EQ(d.used_bytes(0, 0), 32u);
  d.add(0, {{data, 100'000, true}});
  d.add(0, {{data, 16}}, 1);  // nothing to write to
  d.notify(0);
  EXPECT_EQ(d.used_bytes(0, 1), VirtioEntropy::most_bytes_a_buffer);
  EXPECT_EQ(d.used_bytes(0, 2), 0u);
  EXPECT_EQ(d.used_index(0), 3);
}

// ---- balloon ----

TEST(VirtioBalloon, DiscardsWholeRunsInsideMemoryOnly) {
  World w;
  Driver d(w, VirtioSlot::balloon);
  d.start();
  const std::uint32_t first = machine::ram_base >> 12, last = first + 511;
  const std::uint32_t frames[] = {first + 7, first + 5, first + 6, last, last + 1, first - 1, ~0u, first + 5};
  for (std::size_t i = 0; i < std::size(frames); ++i) w.memory.put<std::uint32_t>(data + 4 * i, frames[i]);
  d.add(0, {{data, sizeof frames + 3}});
  d.notify(0);
  EXPECT_EQ(w.discarded, (std::vector<std::pair<std::uint32_t, std::uint32_t>>{{5, 3}, {511, 1}}));
  d.add(1, {{data, sizeof frames}}, 1);
  d.notify(1);
  EXPECT_EQ(w.discarded.size(), 2u);
  EXPECT_EQ(d.used_index(1), 1);
}

TEST(VirtioBalloon, DiscardsReportedPagesThatAreWhollyInsideMemory) {
  World w;
  Driver d(w, VirtioSlot::balloon);
  d.start();
  constexpr std::uint32_t page = machine::page_bytes, end = machine::ram_base + 512 * page;
  d.add(3,
        {{machine::ram_base + 200 * page, 64 * page, true},
         {machine::ram_base + 300 * page + 1, 2 * page, true},  // one whole page in it
         {machine::ram_base + 310 * page, page - 1, true},
         {end - page, page, true}},
        7);
  d.notify(3);
  EXPECT_EQ(w.discarded, (std::vector<std::pair<std::uint32_t, std::uint32_t>>{{200, 64}, {301, 1}, {511, 1}}));
  EXPECT_EQ(d.used_index(3), 1);
  d.add(3, {{machine::ram_base + 200 * page, page}});  // read by the device: not pages that are given
  d.notify(3);
  EXPECT_EQ(w.discarded.size(), 3u);
  d.add(3, {{end - page, page + 1, true}});
  d.notify(3);
  EXPECT_TRUE(d.needs_reset());
  EXPECT_EQ(w.discarded.size(), 3u);
}

TEST(VirtioBalloon, MoreFramesThanAPageHoldsBreakTheDevice) {
  World w;
  Driver d(w, VirtioSlot::balloon);
  d.start();
  for (std::uint32_t i = 0; i < 1024; ++i) w.memory.put<std::uint32_t>(data + 4 * i, machine::ram_base >> 12);
  d.add(0, {{data, 2048}, {data + 2048, 2048}});
  d.notify(0);
  EXPECT_EQ(w.discarded, (std::vector<std::pair<std::uint32_t, std::uint32_t>>{{0, 1}}));
  d.add(0, {{data, 4096}, {data, 1}});
  d.notify(0);
  EXPECT_TRUE(d.needs_reset());
  EXPECT_EQ(w.discarded.size(), 1u);
}

TEST(VirtioBalloon, ADriverThatKeepsOfferingIsServedOnceANotification) {
  World w;
  Driver d(w, VirtioSlot::balloon);
  d.start();
  for (const std::uint32_t n : {0u, 1u, 3u}) {
    d.refill(n);
    d.add(n, {{data, 4}});
    d.notify(n);
    EXPECT_EQ(d.used_index(n), 1);
    d.notify(n);
    EXPECT_EQ(d.used_index(n), 2);
  }
}

TEST(VirtioBalloon, TellsItsTargetAndHearsTheSize) {
  World w;
  Driver d(w, VirtioSlot::balloon);
  d.start();
  w.model.balloon().set_target(77);
  EXPECT_EQ(d.read(m_config), 77u);
  EXPECT_EQ(d.read(m_interrupt_status), 2u);
  EXPECT_EQ(d.read(0xfc), 1u);
  d.write(m_config + 4, 33);
  EXPECT_EQ(w.model.balloon().actual(), 33u);
  d.write(m_config, 5);
  EXPECT_EQ(w.model.balloon().target(), 77u);
}

TEST(VirtioBalloon, TheStatisticsBufferStaysWithTheGuest) {
  World w;
  Driver d(w, VirtioSlot::balloon);
  d.start();
  d.add(2, {{data, 100}});
  d.notify(2);
  EXPECT_EQ(d.used_index(2), 0);
}

}  // namespace
}  // namespace amphion::devices::testing
