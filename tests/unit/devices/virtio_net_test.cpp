// SPDX-License-Identifier: Apache-2.0
// The network device: frames both ways, what a hostile driver offers, how much one call does, and what is carried.
#include <gtest/gtest.h>

#include "tests/unit/devices/world.hpp"

namespace amphion::devices::testing {
namespace {

using machine::VirtioSlot;
constexpr std::uint64_t data = Driver::buffers;
constexpr std::uint32_t receive = 0, transmit = 1, header = machine::virtio_net_header_bytes;
constexpr std::uint32_t used_no_notify = 1;

std::string frame(std::size_t bytes, char fill = 'f') { return std::string(bytes, fill); }

class VirtioNetTest : public ::testing::Test {
 protected:
  void put(std::uint64_t at, const std::string& text) {
    for (const char c : text) w.memory.put(at++, c);
  }
  // Offers a frame with its header in one piece, and notifies.
  void send(const std::string& text, std::uint64_t at = data) {
    put(at + header, text);
    d.add(transmit, {{at, static_cast<std::uint32_t>(header + text.size())}});
    d.notify(transmit);
  }
  void offer_room(int buffers, std::uint32_t bytes = header + 1518) {
    for (int i = 0; i < buffers; ++i)
      d.add(receive, {{data + 0x800u * static_cast<unsigned>(i), bytes, true}}, static_cast<std::uint16_t>(i % 64));
  }
  bool serve() { return w.model.network().serve(); }
  bool wanted(std::uint32_t queue) { return (w.memory.get<std::uint16_t>(d.used(queue)) & used_no_notify) == 0; }

  World w;
  Driver d{w, VirtioSlot::network};
};

TEST_F(VirtioNetTest, ItsConfigurationIsAddressAndLink) {
  const std::uint8_t expected[] = {2, 0, 0, 0, 0, 7, 1, 0};
  for (std::uint32_t i = 0; i < 8; ++i) EXPECT_EQ(d.read(m_config + i, 1), expected[i]) << i;
  EXPECT_EQ(d.read(m_config + 8, 1), 0xffu);
}

TEST_F(VirtioNetTest, SendsWhatTheGuestOffers) {
  d.start();
  send(frame(14, 'a'));
  EXPECT_TRUE(w.cable.sent.empty()) << "a notification is only noted";
  EXPECT_FALSE(serve());
  put(data, std::string(6, 'h'));
  put(data + 0x1000, std::string(6, 'h'));
  put(data + 0x2000, frame(1000, 'b'));
  put(data + 0x3000, frame(518, 'c'));
  d.add(transmit, {{data, 6}, {data + 0x1000, 6}, {data + 0x2000, 1000}, {data + 0x3000, 518}});
  d.notify(transmit);
  EXPECT_FALSE(serve());
  EXPECT_EQ(w.cable.sent, (std::vector<std::string>{frame(14, 'a'), frame(1000, 'b') + frame(518, 'c')}));
  EXPECT_EQ(d.used_index(transmit), 2);
  EXPECT_TRUE(d.line());
}

TEST_F(VirtioNetTest, GivesWhatArrivesWithAHeaderThatSaysOneBuffer) {
  d.start();
  w.cable.waiting = {frame(60, 'x'), frame(1518, 'y')};
  EXPECT_FALSE(w.model.network().has_room());
  EXPECT_FALSE(serve());
  EXPECT_EQ(w.cable.waiting.size(), 2u) << "nothing is taken that has no place";
  offer_room(2);
  EXPECT_TRUE(w.model.network().has_room());
  EXPECT_FALSE(serve());
  EXPECT_EQ(w.memory.text(data, header), std::string("\0\0\0\0\0\0\0\0\0\0\1\0", 12));
  EXPECT_EQ(w.memory.text(data + header, 60), frame(60, 'x'));
  EXPECT_EQ(w.memory.text(data + 0x800 + header, 1518), frame(1518, 'y'));
  EXPECT_EQ(d.used_bytes(receive, 0), header + 60);
  EXPECT_EQ(d.used_bytes(receive, 1), header + 1518);
  EXPECT_TRUE(d.line());
  EXPECT_FALSE(w.model.network().has_room());
}

TEST_F(VirtioNetTest, WhatIsNoFrameIsGivenBackUnsent) {
  d.start();
  for (const std::uint32_t bytes : {0u, 1u, 12u, 12u + 13u, 12u + 1519u, 0x10000u}) {
    d.add(transmit, {{data, bytes}});
    d.notify(transmit);
    EXPECT_FALSE(serve());
  }
  d.add(transmit, {{data, 200, true}});  // to be written to
  d.notify(transmit);
  EXPECT_FALSE(serve());
  EXPECT_TRUE(w.cable.sent.empty());
  EXPECT_EQ(d.used_index(transmit), 7);
  EXPECT_FALSE(d.needs_reset());
}

TEST_F(VirtioNetTest, AFrameThatDoesNotFitItsBufferIsLost) {
  d.start();
  w.cable.waiting = {frame(60), frame(60), frame(60)};
  d.add(receive, {{data, header + 59, true}}, 0);
  d.add(receive, {{data, header + 60}}, 1);  // not to be written to
  d.add(receive, {{data, header + 60, true}}, 2);
  EXPECT_FALSE(serve());
  EXPECT_EQ(d.used_bytes(receive, 0), 0u);
  EXPECT_EQ(d.used_bytes(receive, 1), 0u);
  EXPECT_EQ(d.used_bytes(receive, 2), header + 60);
}

TEST_F(VirtioNetTest, ChainsOutsideMemoryOrInALoopBreakIt) {
  for (const std::uint32_t queue : {receive, transmit}) {
    World other;
    Driver driver(other, VirtioSlot::network);
    driver.start();
    other.cable.waiting = {frame(60)};
    driver.add(queue, {{machine::ram_base - 8, 100, queue == receive}});
    driver.notify(queue);
    EXPECT_FALSE(other.model.network().serve());
    EXPECT_TRUE(driver.needs_reset());
    EXPECT_FALSE(other.model.network().has_room());
    driver.start();
    driver.put_desc(queue, 0, data, 100, static_cast<std::uint16_t>(queue == receive ? 3 : 1), 0);
    driver.offer(queue, 0);
    other.cable.waiting = {frame(60)};
    driver.notify(queue);
    EXPECT_FALSE(other.model.network().serve());
    EXPECT_TRUE(driver.needs_reset());
  }
}

TEST_F(VirtioNetTest, OneCallMovesABoundedNumberOfFrames) {
  d.start();
  for (int i = 0; i < 100; ++i) w.cable.waiting.push_back(frame(60));
  offer_room(64);
  put(data + 0x20000, frame(header + 60));
  d.add(transmit, {{data + 0x20000, header + 60}});
  d.refill(transmit);  // for ever
  d.notify(transmit);
  EXPECT_TRUE(serve());
  EXPECT_EQ(w.cable.sent.size(), 32u);
  EXPECT_EQ(w.cable.waiting.size(), 68u);
  EXPECT_FALSE(wanted(transmit)) << "while there is more to send, the guest need not say so";
  w.memory.after_store16 = {};
  EXPECT_FALSE(serve());
  EXPECT_TRUE(wanted(transmit));
  EXPECT_EQ(w.cable.waiting.size(), 36u);
}

TEST_F(VirtioNetTest, NotificationsAreWantedOnlyWhereTheyTellSomething) {
  d.start();
  EXPECT_FALSE(w.model.network().has_room());
  EXPECT_TRUE(wanted(receive));
  offer_room(1);
  EXPECT_TRUE(w.model.network().has_room());
  EXPECT_FALSE(wanted(receive));
  // The driver offers a frame just before it could see that it shall notify again.
  send(frame(60));
  w.memory.after_store16 = [&, once = true](std::uint64_t address) mutable {
    if (address == d.used(transmit) && std::exchange(once, false)) d.offer(transmit, 0);
  };
  EXPECT_FALSE(serve());
  EXPECT_EQ(w.cable.sent.size(), 2u);
  EXPECT_TRUE(wanted(transmit));
}

TEST_F(VirtioNetTest, AResetInFlightLeavesNothing) {
  d.start();
  offer_room(1);
  EXPECT_TRUE(w.model.network().has_room());
  send(frame(60));
  w.cable.waiting = {frame(60)};
  d.write(m_status, 0);
  EXPECT_FALSE(serve());
  EXPECT_FALSE(w.model.network().has_room());
  EXPECT_TRUE(w.cable.sent.empty());
  EXPECT_EQ(w.cable.waiting.size(), 1u);
  EXPECT_FALSE(d.line());
}

TEST_F(VirtioNetTest, StoppedInTheMidstOfTrafficItGoesOnElsewhere) {
  d.start();
  offer_room(3);
  w.cable.waiting = {frame(60, '1')};
  EXPECT_FALSE(serve());
  EXPECT_TRUE(w.model.network().has_room());  // room, and no notifications wanted
  send(frame(60, 's'));                       // offered, not sent yet
  machine::InstanceState state;
  w.model.save(state);

  World other;
  other.memory = w.memory;
  other.model.restore(state);
  Driver there(other, VirtioSlot::network);
  EXPECT_FALSE(other.model.network().serve());
  EXPECT_EQ(other.cable.sent, std::vector<std::string>{frame(60, 's')});
  other.cable.waiting = {frame(60, '2'), frame(60, '3')};
  EXPECT_FALSE(other.model.network().serve());
  EXPECT_EQ(other.memory.text(data + 0x1000 + header, 60), frame(60, '3'));
  EXPECT_EQ(there.used_index(receive), 3);
  machine::InstanceState again;
  other.model.save(again);
  EXPECT_EQ(again.virtio(1).network().mac(), state.virtio(1).network().mac());
}

TEST_F(VirtioNetTest, NotificationsThatAnotherEngineSwitchedOffAreWantedAgain) {
  d.start();
  machine::InstanceState state;
  w.model.save(state);
  World other;
  other.memory = w.memory;
  Driver there(other, VirtioSlot::network);
  other.memory.put<std::uint16_t>(there.used(transmit), used_no_notify);
  other.model.restore(state);
  EXPECT_FALSE(other.model.network().serve());
  EXPECT_EQ(other.memory.get<std::uint16_t>(there.used(transmit)), 0);
}

TEST_F(VirtioNetTest, ALinkThatIsOtherThanTheGuestWasToldIsAChange) {
  d.start();
  machine::InstanceState state;
  w.model.save(state);
  state.mutable_virtio(1)->mutable_network()->set_link_up(false);
  World other;
  other.memory = w.memory;
  other.model.restore(state);
  Driver there(other, VirtioSlot::network);
  EXPECT_EQ(there.read(m_interrupt_status) & 2, 2u);
  EXPECT_TRUE(there.line());
}

}  // namespace
}  // namespace amphion::devices::testing
