// SPDX-License-Identifier: Apache-2.0
// The virtio console with several ports (virtio 1.1 section 5.3): port 0 is the guest's hvc0, port 1 the grow port.
// What the guest sends goes to a sink at once; what is sent to the guest waits in a bounded buffer until the guest
// offers room.
// Thread safety: none; the DeviceModel serialises.
#pragma once

#include <array>
#include <cstddef>
#include <deque>
#include <functional>
#include <vector>

#include "phone-side/devices/virtio_device.hpp"

namespace amphion::devices {

class VirtioConsole final : public VirtioDevice {
 public:
  // Must not block.
  using Sink = std::function<void(std::uint32_t port, std::span<const std::byte>)>;
  static constexpr std::size_t buffer_bytes = 64 * 1024;

  VirtioConsole(Sink sink, GuestMemory& memory, Slot slot);

  // How many of the bytes were taken: fewer than offered if the buffer is full. Bytes for a port that the guest does
  // not hold open are taken and dropped, as a serial line would.
  std::size_t send(std::uint32_t port, std::span<const std::byte> bytes);
  [[nodiscard]] bool open(std::uint32_t port) const { return ports_[port].guest_connected; }

 private:
  struct Port {
    bool guest_connected = false;
    std::deque<std::byte> to_guest;
  };
  struct Control {
    std::uint32_t id;
    std::uint16_t event, value;
  };

  void fill_config(std::span<std::byte> config) const override;
  void config_written(std::uint32_t offset, std::span<const std::byte> value) override;
  void notified(std::uint32_t queue) override;
  void activated() override;
  void device_reset() override;
  void save_device(machine::VirtioDevice& state) const override;
  void restore_device(const machine::VirtioDevice& state) override;

  void take_output(std::uint32_t port);
  void take_control();
  void control(const Control& message);
  void announce(std::uint32_t port);
  void tell(std::uint32_t id, std::uint16_t event, std::uint16_t value, std::span<const char> text = {});
  void flush_control();
  void flush_port(std::uint32_t port);

  Sink sink_;
  std::array<Port, machine::virtio_console_ports> ports_;
  std::deque<std::vector<std::byte>> control_to_guest_;
};

}  // namespace amphion::devices
