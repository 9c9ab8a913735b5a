// SPDX-License-Identifier: Apache-2.0
// The virtio block device (virtio 1.1 section 5.2): one queue; read, write, flush and identification.
// Thread safety: none; the DeviceModel serialises. Invariant: no access beyond the disk's size; a flush is answered
// only when the data are durable.
#pragma once

#include <array>

#include "phone-side/devices/disk.hpp"
#include "phone-side/devices/virtio_device.hpp"

namespace amphion::devices {

class VirtioBlk final : public VirtioDevice {
 public:
  // The disk must outlive the device.
  VirtioBlk(Disk& disk, GuestMemory& memory, Slot slot);

 private:
  void fill_config(std::span<std::byte> config) const override;
  void notified(std::uint32_t queue) override;
  void activated() override { notified(0); }
  void save_device(machine::VirtioDevice& state) const override;
  void restore_device(const machine::VirtioDevice&) override {}

  // What the driver asks in one chain. Bytes written to the chain, status byte included.
  struct Outcome {
    std::uint8_t status;
    std::uint64_t written;
  };
  [[nodiscard]] Outcome serve(const Chain& chain);
  [[nodiscard]] Outcome read_sectors(const Chain& chain, std::uint64_t sector);
  [[nodiscard]] Outcome write_sectors(const Chain& chain, std::uint64_t sector);
  [[nodiscard]] Outcome identify(const Chain& chain);
  [[nodiscard]] bool fits(std::uint64_t sector, std::uint64_t bytes) const;

  Disk& disk_;
  std::array<std::byte, 64 * 1024> buffer_;
};

}  // namespace amphion::devices
