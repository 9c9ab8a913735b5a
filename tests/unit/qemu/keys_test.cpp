// SPDX-License-Identifier: Apache-2.0
// A clone whose vCPUs are all off, but whose keyboard has a driver: this test. It sees exactly what a guest would see.
#include "cloud-side/qemu/keys.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/input-event-codes.h>
#include <unistd.h>

#include "machine/cold_start.hpp"
#include "machine/virtio_features.hpp"
#include "tests/unit/qemu/guest.hpp"

namespace amphion::qemu::test {
namespace {

constexpr machine::Shape shape{1, 64u << 20};
constexpr std::uint32_t desc = 0x10'0000, avail = 0x10'1000, used = 0x10'2000,
                        buffers = 0x10'3000;  // offsets in memory
constexpr std::uint32_t entries = 64;
constexpr std::uint16_t written_by_device = 2;

class Keyboard : public testing::Test {
 protected:
  void SetUp() override {
    auto state = machine::cold_state(shape, frequency, 2048);
    state.mutable_vcpus(0)->set_power(machine::Vcpu::POWER_OFF);
    give_driver(*state.mutable_virtio(3));
    const auto place = folder_.clone("keys");
    for (const auto& [name, size] : {std::pair{"memory", shape.memory_bytes}, {"disk0", std::uint64_t{2048 * 512}}}) {
      const int fd = open((place / name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
      ASSERT_EQ(ftruncate(fd, static_cast<off_t>(size)), 0);
      if (memory_ < 0) memory_ = fd;
    }
    for (std::uint32_t n = 0; n < entries; ++n) {
      put(desc + 16 * n, std::uint64_t{machine::ram_base + buffers + 8 * n});
      put(desc + 16 * n + 8, std::uint32_t{8});
      put(desc + 16 * n + 12, written_by_device);
    }
    auto clone = Clone::start(options(folder_.path()), place, state);
    ASSERT_TRUE(clone) << clone.error().text;
    clone_ = std::move(*clone);
  }
  void TearDown() override {
    if (clone_) clone_->kill();
    close(memory_);
  }
  static void give_driver(machine::VirtioDevice& keyboard) {
    keyboard.set_status(0xf);
    keyboard.set_driver_features(machine::virtio_f_version_1);
    auto& q = *keyboard.mutable_queues(0);
    q.set_size(entries);
    q.set_ready(true);
    q.set_desc(machine::ram_base + desc);
    q.set_driver(machine::ram_base + avail);
    q.set_device(machine::ram_base + used);
  }
  template <typename T>
  void put(std::uint32_t offset, T value) {
    ASSERT_EQ(pwrite(memory_, &value, sizeof value, offset), static_cast<ssize_t>(sizeof value));
  }
  template <typename T>
  T get(std::uint32_t offset) {
    T value{};
    EXPECT_EQ(pread(memory_, &value, sizeof value, offset), static_cast<ssize_t>(sizeof value));
    return value;
  }
  // The driver gives `count` more buffers, in order.
  void offer(std::uint16_t count) {
    for (; count > 0; --count, ++offered_)
      put(avail + 4 + 2 * (offered_ % entries), static_cast<std::uint16_t>(offered_ % entries));
    put(avail + 2, offered_);
  }
  link::InputEvent taken(std::uint16_t index) {
    const std::uint32_t at = buffers + 8 * (index % entries);
    return {get<std::uint16_t>(at), get<std::uint16_t>(at + 2), get<std::int32_t>(at + 4)};
  }
  link::Result<bool> inject(std::uint16_t code, int value) {
    const link::InputEvent frame[] = {{EV_KEY, code, value}, {EV_SYN, SYN_REPORT, 0}};
    return clone_->inject(frame);
  }

  Folder folder_;
  int memory_ = -1;
  std::uint16_t offered_ = 0;
  std::unique_ptr<Clone> clone_;
};

TEST_F(Keyboard, EveryKeyArrivesAsItself) {
  std::uint16_t arrived = 0;
  int keys = 0;
  for (std::uint16_t code = 1; code <= machine::virtio_keyboard_last_key; ++code) {
    const bool known = qnum(code).has_value();
    for (const int value : {1, 0}) {
      if (known) offer(2);
      const auto given = inject(code, value);
      ASSERT_EQ(given.ok(), known) << code;
      if (!known) continue;
      ASSERT_TRUE(*given) << code;
      ASSERT_EQ(*clone_->keyboard_used(), arrived + 2) << code;
      EXPECT_EQ(taken(arrived), (link::InputEvent{EV_KEY, code, value}))
          << code << " arrives as " << taken(arrived).code;
      EXPECT_EQ(taken(static_cast<std::uint16_t>(arrived + 1)), (link::InputEvent{EV_SYN, SYN_REPORT, 0}));
      arrived = static_cast<std::uint16_t>(arrived + 2);
    }
    keys += known ? 1 : 0;
  }
  EXPECT_GE(keys, 110);
}

TEST_F(Keyboard, NothingIsGivenWithoutRoom) {
  EXPECT_FALSE(*inject(KEY_A, 1));
  offer(1);
  EXPECT_FALSE(*inject(KEY_A, 1));
  EXPECT_EQ(*clone_->keyboard_used(), 0);
  offer(1);
  EXPECT_TRUE(*inject(KEY_A, 1));
  EXPECT_EQ(*clone_->keyboard_used(), 2);
}

TEST_F(Keyboard, NothingIsGivenWhileTheCloneStandsStill) {
  offer(8);
  const auto state = clone_->stop();
  ASSERT_TRUE(state) << state.error().text;
  EXPECT_FALSE(*inject(KEY_A, 1));
  ASSERT_TRUE(clone_->resume());
  EXPECT_TRUE(*inject(KEY_A, 1));
  const auto later = clone_->stop();
  ASSERT_TRUE(later) << later.error().text;
  EXPECT_EQ(later->virtio(3).queues(0).used(), 2u);
  EXPECT_EQ(later->virtio(3).queues(0).last_avail(), 2u);
}

TEST_F(Keyboard, AFrameWithoutEndIsInvalid) {
  const link::InputEvent frame[] = {{EV_KEY, KEY_A, 1}, {EV_KEY, KEY_B, 1}};
  EXPECT_FALSE(clone_->inject(frame).ok());
  EXPECT_FALSE(clone_->inject(std::span(frame).first(1)).ok());
}

}  // namespace
}  // namespace amphion::qemu::test
