// SPDX-License-Identifier: Apache-2.0
#include "phone-side/devices/virtio_device.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace amphion::devices {
namespace {

enum Register : std::uint32_t {
  magic_value = 0x000,
  version = 0x004,
  device_id = 0x008,
  vendor_id = 0x00c,
  device_features = 0x010,
  device_features_sel = 0x014,
  driver_features = 0x020,
  driver_features_sel = 0x024,
  queue_sel = 0x030,
  queue_num_max = 0x034,
  queue_num = 0x038,
  queue_ready = 0x044,
  status = 0x070,
  queue_desc_low = 0x080,
  queue_desc_high = 0x084,
  queue_driver_low = 0x090,
  queue_driver_high = 0x094,
  queue_device_low = 0x0a0,
  queue_device_high = 0x0a4,
  shm_len_low = 0x0b0,
  shm_len_high = 0x0b4,
  config_generation = 0x0fc,
  config_space = 0x100,
};

constexpr std::uint32_t status_driver_ok = 4, status_features_ok = 8, status_needs_reset = 64;
constexpr std::uint32_t interrupt_used_buffer = 1, interrupt_config = 2;
constexpr std::uint32_t any_interrupt = 0xff;
constexpr std::uint32_t config_bytes = machine::virtio_slot_bytes - config_space;

void set_low(std::uint64_t& target, std::uint32_t value) { target = (target & ~0xffff'ffffull) | value; }
void set_high(std::uint64_t& target, std::uint32_t value) {
  target = (target & 0xffff'ffffull) | std::uint64_t{value} << 32;
}

}  // namespace

VirtioDevice::VirtioDevice(const machine::VirtioModel& model, GuestMemory& memory, Slot slot)
    : model_(model), memory_(memory), page_(slot.page), slot_(static_cast<std::uint32_t>(slot.number)) {
  for (std::uint32_t i = 0; i < model.queues; ++i) queues_.emplace_back(memory, machine::virtio_queue_size_max);
}

void VirtioDevice::config_written(std::uint32_t, std::span<const std::byte>) {}

bool VirtioDevice::active() const { return (status_ & status_driver_ok) != 0 && (status_ & status_needs_reset) == 0; }

void VirtioDevice::write(std::uint32_t offset, std::uint32_t bytes, std::uint32_t value) {
  if (offset >= config_space) return write_config(offset - config_space, bytes, value);
  if (bytes != 4 || offset % 4 != 0) return;
  write_register(offset, value);
  publish_changes();
}

void VirtioDevice::notify(std::uint32_t queue) {
  if (queue < queues_.size() && active()) notified(queue);
}

std::uint32_t VirtioDevice::read_register(std::uint32_t offset) const {
  const VirtQueue* q = queue_sel_ < queues_.size() ? &queues_[queue_sel_] : nullptr;
  switch (offset) {
    case magic_value:
      return machine::virtio_mmio_magic;
    case version:
      return machine::virtio_mmio_version;
    case device_id:
      return model_.device_id;
    case vendor_id:
      return machine::virtio_mmio_vendor;
    case device_features:
      return device_features_sel_ > 1 ? 0 : static_cast<std::uint32_t>(model_.features >> (32 * device_features_sel_));
    case queue_num_max:
      return q != nullptr ? q->size_max() : 0;
    case queue_ready:
      return q != nullptr && q->ready() ? 1 : 0;
    case status:
      return status_;
    case shm_len_low:
    case shm_len_high:
      return ~0u;  // no shared memory region
    case config_generation:
      return config_generation_;
    default:
      return 0;
  }
}

void VirtioDevice::write_register(std::uint32_t offset, std::uint32_t value) {
  switch (offset) {
    case device_features_sel:
      device_features_sel_ = value;
      return;
    case driver_features_sel:
      driver_features_sel_ = value;
      return;
    case driver_features:
      return write_driver_features(value);
    case queue_sel:
      queue_sel_ = value;
      return;
    case status:
      return write_status(value & 0xff);
    default:
      return write_queue_register(offset, value);
  }
}

void VirtioDevice::write_queue_register(std::uint32_t offset, std::uint32_t value) {
  if (queue_sel_ >= queues_.size()) return;
  VirtQueue& q = queues_[queue_sel_];
  if (offset == queue_ready) return q.set_ready(value == 1);
  if (q.ready()) return;  // its place is fixed while it is in use
  switch (offset) {
    case queue_num:
      return q.set_size(value);
    case queue_desc_low:
      return set_low(q.desc, value);
    case queue_desc_high:
      return set_high(q.desc, value);
    case queue_driver_low:
      return set_low(q.driver, value);
    case queue_driver_high:
      return set_high(q.driver, value);
    case queue_device_low:
      return set_low(q.device, value);
    case queue_device_high:
      return set_high(q.device, value);
    default:
      return;
  }
}

void VirtioDevice::publish() {
  for (const std::uint32_t offset : {magic_value, version, device_id, vendor_id, shm_len_low, shm_len_high})
    show(offset);
  publish_changes();
  publish_config();
}

// What a write of a register may have changed. Writes are many while a driver begins, and the guest waits for each.
void VirtioDevice::publish_changes() {
  for (const std::uint32_t offset : {device_features, queue_num_max, queue_ready, status, config_generation})
    show(offset);
}

// What is beyond the device's configuration reads as ones.
void VirtioDevice::publish_config() {
  std::array<std::byte, config_bytes> config{};
  fill_config(std::span(config).first(model_.config_bytes));
  std::fill(config.begin() + model_.config_bytes, config.end(), std::byte{0xff});
  for (std::uint32_t offset = 0; offset < config_bytes; offset += 4)
    page_.show(slot_, config_space + offset, load_le<std::uint32_t>(config, offset));
}

void VirtioDevice::show(std::uint32_t offset) { page_.show(slot_, offset, read_register(offset)); }

void VirtioDevice::write_config(std::uint32_t offset, std::uint32_t bytes, std::uint32_t value) {
  if (offset + bytes > model_.config_bytes) return;
  std::array<std::byte, 4> raw;
  store_le<std::uint32_t>(raw, 0, value);
  config_written(offset, std::span(raw).first(bytes));
  publish_config();
}

void VirtioDevice::write_driver_features(std::uint32_t value) {
  if ((status_ & status_features_ok) != 0) return;
  if (driver_features_sel_ == 0) set_low(driver_features_, value);
  if (driver_features_sel_ == 1) set_high(driver_features_, value);
}

void VirtioDevice::write_status(std::uint32_t value) {
  if (value == 0) return reset();
  const bool was_active = active();
  value |= status_ & status_needs_reset;
  const bool acceptable =
      (driver_features_ & ~model_.features) == 0 && (driver_features_ & machine::virtio_f_version_1) != 0;
  if (!acceptable) value &= ~(status_features_ok | status_driver_ok);
  status_ = value;
  if (!was_active && active()) activated();
}

void VirtioDevice::interrupt(std::uint32_t bits) { page_.change_interrupt(slot_, 0, bits); }

bool VirtioDevice::take(std::uint32_t n, Chain& chain) {
  if (!active()) return false;
  const auto result = queues_[n].pop(chain);
  if (result == VirtQueue::Pop::broken) broken();
  return result == VirtQueue::Pop::chain;
}

void VirtioDevice::give(std::uint32_t n, const Chain& chain, std::uint32_t written) {
  if (!queues_[n].push(chain, written)) broken();
}

void VirtioDevice::interrupt_used(std::uint32_t n) {
  if (!queues_[n].interrupt_suppressed()) interrupt(interrupt_used_buffer);
}

void VirtioDevice::config_changed() {
  ++config_generation_;
  publish_changes();
  publish_config();
  if ((status_ & status_driver_ok) != 0) interrupt(interrupt_config);
}

void VirtioDevice::broken() {
  status_ |= status_needs_reset;
  config_changed();
}

void VirtioDevice::reset() {
  device_reset();
  for (auto& q : queues_) q.reset();
  driver_features_ = 0;
  status_ = device_features_sel_ = driver_features_sel_ = queue_sel_ = 0;
  publish();
  page_.change_interrupt(slot_, any_interrupt, 0);
}

void VirtioDevice::save(machine::VirtioDevice& state) const {
  state.set_device_id(model_.device_id);
  state.set_status(status_);
  state.set_driver_features(driver_features_ & model_.features);  // more is not accepted yet
  state.set_device_features_sel(device_features_sel_);
  state.set_driver_features_sel(driver_features_sel_);
  state.set_queue_sel(queue_sel_);
  state.set_interrupt_status(page_.shown(slot_, RegisterPage::interrupt_status));
  state.set_config_generation(config_generation_);
  for (const auto& q : queues_) q.save(*state.add_queues());
  save_device(state);
}

void VirtioDevice::restore(const machine::VirtioDevice& state) {
  reset();
  status_ = state.status();
  driver_features_ = state.driver_features();
  device_features_sel_ = state.device_features_sel();
  driver_features_sel_ = state.driver_features_sel();
  queue_sel_ = state.queue_sel();
  config_generation_ = state.config_generation();
  for (std::size_t i = 0; i < queues_.size(); ++i) queues_[i].restore(state.queues(static_cast<int>(i)));
  restore_device(state);
  publish();
  page_.change_interrupt(slot_, any_interrupt, state.interrupt_status());
  if (active()) activated();
}

}  // namespace amphion::devices
