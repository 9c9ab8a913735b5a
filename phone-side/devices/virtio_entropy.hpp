// SPDX-License-Identifier: Apache-2.0
// The virtio entropy device (virtio 1.1 section 5.4): fills the guest's buffers with random bytes of the host instance.
// Thread safety: none; the DeviceModel serialises. Invariant: one notification costs a bounded number of bytes.
#pragma once

#include <functional>
#include <span>

#include "phone-side/devices/virtio_device.hpp"

namespace amphion::devices {

class VirtioEntropy final : public VirtioDevice {
 public:
  // Fills all of it; must not block.
  using Source = std::function<void(std::span<std::byte>)>;
  static constexpr std::size_t most_bytes_a_buffer = 256;  // Linux asks for 64; the rest of a larger one stays unused

  VirtioEntropy(Source source, GuestMemory& memory, Slot slot);

 private:
  void fill_config(std::span<std::byte>) const override {}
  void notified(std::uint32_t queue) override;
  void activated() override { notified(0); }
  void save_device(machine::VirtioDevice&) const override {}
  void restore_device(const machine::VirtioDevice&) override {}

  Source source_;
};

}  // namespace amphion::devices
