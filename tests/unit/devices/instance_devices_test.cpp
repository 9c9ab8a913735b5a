// SPDX-License-Identifier: Apache-2.0
// An instance's devices: accesses, serial port, keys, and frames of the network.
#include <sys/socket.h>

#include <thread>

#include "tests/unit/devices/instance_world.hpp"

namespace amphion::instance {
namespace {

TEST_F(InstanceTest, ServesAccessesAndReports) {
  make();
  ASSERT_EQ(instance->run(), Problem{});
  EXPECT_EQ(fake->registers[0], machine::virtio_mmio_magic);
  EXPECT_EQ(fake->access(machine::virtio.base + 0x70, true, 3), 0u);
  EXPECT_EQ(fake->registers[0x70 / 4], 3u);
  fake->serial("h");
  wait_for([&] { return serial == "h"; });
  {
    const std::lock_guard lock(fake->mutex);
    fake->sent = "i";  // and stops before anybody was told
  }
  ASSERT_EQ(instance->pause(), Problem{});
  wait_for([&] { return serial == "hi"; });
  EXPECT_TRUE(instance->stopped());
  ASSERT_EQ(instance->pause(), Problem{});
  ASSERT_EQ(instance->run(), Problem{});
  EXPECT_TRUE(instance->run().has_value());
}

TEST_F(InstanceTest, SerialInputIsFedAsTheGuestReads) {
  make();
  ASSERT_EQ(instance->run(), Problem{});
  const std::string text(100, 'x');
  EXPECT_EQ(instance->serial_input(text), 100u);
  for (std::size_t given = 0; given < 100; given += 10) {
    fake->serial("", 10);
    std::unique_lock lock(fake->mutex);
    fake->changed.wait(lock, [&] { return fake->given.size() == given + 10; });
  }
  EXPECT_EQ(fake->given, text);
}

// Its state may have been saved: what changed behind that would be in memory and not in the state.
TEST_F(InstanceTest, TakesNothingWhileItIsStopped) {
  make();
  ASSERT_EQ(instance->run(), Problem{});
  ASSERT_EQ(instance->pause(), Problem{});
  const devices::InputEvent key{1, 1, 30, 1};
  EXPECT_EQ(instance->keys(std::span(&key, 1)), 0u);
  EXPECT_EQ(instance->serial_input("x"), 0u);
  EXPECT_EQ(instance->console_input("x"), 0u);
}

TEST_F(InstanceTest, KeysAreTakenUpToTheBoundAndWait) {
  make();
  ASSERT_EQ(instance->run(), Problem{});
  std::vector<devices::InputEvent> many(devices::VirtioInput::most_waiting + 10);
  for (std::size_t i = 0; i < many.size(); ++i) many[i] = {i + 1, 1, 30, 1};
  EXPECT_EQ(instance->keys(many), devices::VirtioInput::most_waiting);
  EXPECT_EQ(instance->keys_reached(), 0u);
}

// A guest's driver of the network device, with one buffer to receive into and one frame to send.
class NetworkGuest {
 public:
  explicit NetworkGuest(FakeState& fake) : fake_(fake) {}
  void start() {
    for (const auto& [offset, value] : std::initializer_list<std::pair<std::uint32_t, std::uint32_t>>{
             {0x70, 0}, {0x70, 3}, {0x24, 1}, {0x20, 1}, {0x70, 11}})
      write(offset, value);
    for (std::uint32_t n : {0u, 1u}) {
      const auto at = static_cast<std::uint32_t>(ring(n));
      for (const auto& [offset, value] : std::initializer_list<std::pair<std::uint32_t, std::uint32_t>>{
               {0x30, n}, {0x38, 64}, {0x80, at}, {0x90, at + 0x400}, {0xa0, at + 0x800}, {0x44, 1}})
        write(offset, value);
    }
    write(0x70, 15);
  }
  void offer(std::uint32_t n, std::uint32_t bytes) {
    put<std::uint64_t>(ring(n), buffer(n));
    put<std::uint32_t>(ring(n) + 8, bytes);
    put<std::uint16_t>(ring(n) + 12, n == 0 ? 2 : 0);
    put<std::uint16_t>(ring(n) + 0x402, ++offered_[n]);
    fake_.ring(static_cast<std::uint32_t>(machine::VirtioSlot::network), 1u << n);
  }
  [[nodiscard]] char* at(std::uint64_t address) {
    return reinterpret_cast<char*>(fake_.memory.data() + (address - machine::ram_base));
  }
  [[nodiscard]] std::uint16_t used(std::uint32_t n) {
    return std::atomic_ref(*reinterpret_cast<std::uint16_t*>(at(ring(n) + 0x802))).load();
  }
  void wait_used(std::uint32_t n, std::uint16_t count) {
    while (used(n) != count) std::this_thread::yield();
  }
  static std::uint64_t buffer(std::uint32_t n) { return machine::ram_base + 0x20'0000 + 0x1000 * n; }

 private:
  static std::uint64_t ring(std::uint32_t n) { return machine::ram_base + 0x10'0000 + 0x1000 * n; }
  void write(std::uint32_t offset, std::uint32_t value) {
    fake_.access(machine::virtio_window(machine::VirtioSlot::network).base + offset, true, value);
  }
  template <typename T>
  void put(std::uint64_t address, T value) {
    std::memcpy(at(address), &value, sizeof value);
  }
  FakeState& fake_;
  std::array<std::uint16_t, 2> offered_{};
};

TEST_F(InstanceTest, FramesWakeItWhileTheGuestRunsAndHasRoom) {
  constexpr std::size_t header = machine::virtio_net_header_bytes;
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
  ASSERT_EQ(fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);
  config.network.tap = pair[0];
  const OwnedFd outside_end(pair[1]);
  const auto send = [&](const std::string& frame) {
    EXPECT_EQ(::write(pair[1], frame.data(), frame.size()), static_cast<ssize_t>(frame.size()));
  };
  make();
  ASSERT_EQ(instance->boot(), Problem{});
  ASSERT_EQ(instance->run(), Problem{});
  NetworkGuest guest(*fake);
  guest.start();
  send(std::string(60, '1'));
  guest.offer(0, 2048);
  guest.wait_used(0, 1);
  EXPECT_EQ(std::string(guest.at(guest.buffer(0) + header), 60), std::string(60, '1'));

  std::memset(guest.at(guest.buffer(1)), 's', header + 100);
  guest.offer(1, header + 100);
  char frame[200];
  EXPECT_EQ(::read(pair[1], frame, sizeof frame), 100);

  guest.offer(0, 2048);
  ASSERT_EQ(instance->pause(), Problem{});
  send(std::string(60, '2'));
  machine::InstanceState state;
  ASSERT_EQ(instance->save(state), Problem{});
  EXPECT_EQ(guest.used(0), 1) << "a stopped guest receives nothing";
  ASSERT_EQ(instance->run(), Problem{});
  guest.wait_used(0, 2);
  EXPECT_EQ(std::string(guest.at(guest.buffer(0) + header), 60), std::string(60, '2'));
}

}  // namespace
}  // namespace amphion::instance
