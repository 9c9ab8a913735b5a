// SPDX-License-Identifier: Apache-2.0
// The virtio balloon (virtio 1.1 section 5.5): the guest names pages that it does not need, their memory is given back:
// those that it holds back because it was asked to, and, in runs of 2 MiB or more, those that are just free. Statistics
// are not asked for: the driver's buffer stays where it is. Thread safety: none; the DeviceModel serialises. Invariant:
// only whole pages inside memory are discarded.
#pragma once

#include <functional>
#include <vector>

#include "phone-side/devices/virtio_device.hpp"

namespace amphion::devices {

class VirtioBalloon final : public VirtioDevice {
 public:
  // Page indexes from ram_base.
  using Discard = std::function<void(std::uint32_t first_page, std::uint32_t pages)>;

  VirtioBalloon(Discard discard, GuestMemory& memory, Slot slot);

  void set_target(std::uint32_t pages);
  [[nodiscard]] std::uint32_t target() const { return num_pages_; }
  [[nodiscard]] std::uint32_t actual() const { return actual_; }

 private:
  void fill_config(std::span<std::byte> config) const override;
  void config_written(std::uint32_t offset, std::span<const std::byte> value) override;
  void notified(std::uint32_t queue) override;
  void activated() override;
  void save_device(machine::VirtioDevice& state) const override;
  void restore_device(const machine::VirtioDevice& state) override;

  [[nodiscard]] bool inflate(const Chain& chain);
  void discard_pages(std::vector<std::uint32_t>& frames);
  void discard_reported(const Chain& chain);

  Discard discard_;
  std::uint32_t num_pages_ = 0, actual_ = 0;
};

}  // namespace amphion::devices
