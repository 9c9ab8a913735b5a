// SPDX-License-Identifier: Apache-2.0
// A virtio device behind a virtio-mmio transport, version 2 (virtio 1.1 section 4.2): the registers, the status
// negotiation, the queues and the interrupt. A subclass gives it a configuration space and serves its queues.
// What drivers read stands in the RegisterPage at the end of every call. QueueNotify comes as notify(), InterruptACK
// not at all. Thread safety: none; the DeviceModel serialises. Invariant: a device whose driver broke the protocol
// (DEVICE_NEEDS_RESET) touches no queue until it is reset.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "machine/state.pb.h"
#include "machine/virtio_features.hpp"
#include "phone-side/devices/guest_memory.hpp"
#include "phone-side/devices/register_page.hpp"
#include "phone-side/devices/virtio_queue.hpp"

namespace amphion::devices {

class VirtioDevice {
 public:
  struct Slot {
    RegisterPage& page;
    machine::VirtioSlot number;
  };

  // Shows its registers only from the first reset() or restore() on.
  VirtioDevice(const machine::VirtioModel& model, GuestMemory& memory, Slot slot);
  virtual ~VirtioDevice() = default;
  VirtioDevice(const VirtioDevice&) = delete;
  VirtioDevice& operator=(const VirtioDevice&) = delete;

  // The driver writes a register; offset within the slot's window, bytes 1, 2 or 4, not crossing the window's end.
  void write(std::uint32_t offset, std::uint32_t bytes, std::uint32_t value);

  void notify(std::uint32_t queue);

  void reset();
  void save(machine::VirtioDevice& state) const;  // all but `slot`
  void restore(const machine::VirtioDevice& state);

 protected:
  // Subclass: configuration space of model.config_bytes bytes.
  virtual void fill_config(std::span<std::byte> config) const = 0;
  virtual void config_written(std::uint32_t offset, std::span<const std::byte> value);
  virtual void notified(std::uint32_t queue) = 0;
  virtual void activated() {}  // DRIVER_OK was set, or a state in which it is set was restored
  virtual void device_reset() {}
  virtual void save_device(machine::VirtioDevice& state) const = 0;
  virtual void restore_device(const machine::VirtioDevice& state) = 0;

  [[nodiscard]] bool negotiated(std::uint64_t feature) const { return (driver_features_ & feature) != 0; }
  [[nodiscard]] bool active() const;  // the driver is there and has not broken the protocol
  [[nodiscard]] VirtQueue& queue(std::uint32_t n) { return queues_[n]; }
  [[nodiscard]] const VirtQueue& queue(std::uint32_t n) const { return queues_[n]; }
  [[nodiscard]] GuestMemory& memory() { return memory_; }

  // The next chain of an active device's queue; handles a broken one.
  [[nodiscard]] bool take(std::uint32_t n, Chain& chain);
  void give(std::uint32_t n, const Chain& chain, std::uint32_t written);
  void interrupt_used(std::uint32_t n);  // after one or more give()
  void config_changed();
  void broken();

 private:
  [[nodiscard]] std::uint32_t read_register(std::uint32_t offset) const;
  void write_register(std::uint32_t offset, std::uint32_t value);
  void write_queue_register(std::uint32_t offset, std::uint32_t value);
  void write_config(std::uint32_t offset, std::uint32_t bytes, std::uint32_t value);
  void write_driver_features(std::uint32_t value);
  void write_status(std::uint32_t value);
  void interrupt(std::uint32_t bits);
  void publish();
  void publish_changes();
  void publish_config();
  void show(std::uint32_t offset);

  const machine::VirtioModel& model_;
  GuestMemory& memory_;
  RegisterPage& page_;
  const std::uint32_t slot_;
  std::vector<VirtQueue> queues_;
  std::uint64_t driver_features_ = 0;
  std::uint32_t status_ = 0, device_features_sel_ = 0, driver_features_sel_ = 0, queue_sel_ = 0, config_generation_ = 0;
};

}  // namespace amphion::devices
