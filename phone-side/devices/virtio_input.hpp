// SPDX-License-Identifier: Apache-2.0
// The virtio keyboard (virtio 1.1 section 5.8). An event waits here until the guest offers a buffer and is never
// dropped; when too many wait, the caller is refused and keeps its event.
// Thread safety: none; the DeviceModel serialises. Invariant: events reach the guest's queue in the order in which
// they were offered, each once; reached() is the sequence number of the last one that did.
#pragma once

#include <cstdint>
#include <deque>

#include "phone-side/devices/virtio_device.hpp"

namespace amphion::devices {

// An evdev event as captured; sequence numbers ascend.
struct InputEvent {
  std::uint64_t sequence;
  std::uint16_t type, code;
  std::int32_t value;
};

class VirtioInput final : public VirtioDevice {
 public:
  static constexpr std::size_t most_waiting = 1024;

  VirtioInput(GuestMemory& memory, Slot slot);

  // False: too many wait already; offer it again after some have been delivered.
  [[nodiscard]] bool offer(const InputEvent& event);
  [[nodiscard]] std::uint64_t reached() const { return reached_; }
  [[nodiscard]] std::size_t waiting() const { return waiting_.size(); }
  [[nodiscard]] std::uint16_t used_index() const { return queue(0).used_index(); }
  void restore_sequence(std::uint64_t reached);  // forgets what waits

 private:
  void fill_config(std::span<std::byte> config) const override;
  void config_written(std::uint32_t offset, std::span<const std::byte> value) override;
  void notified(std::uint32_t queue) override;
  void activated() override { deliver(); }
  void device_reset() override;
  void save_device(machine::VirtioDevice& state) const override;
  void restore_device(const machine::VirtioDevice& state) override;

  void deliver();
  void take_status();

  std::deque<InputEvent> waiting_;
  std::uint64_t reached_ = 0;
  std::uint8_t select_ = 0, subsel_ = 0, leds_ = 0;
};

}  // namespace amphion::devices
