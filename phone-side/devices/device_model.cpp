// SPDX-License-Identifier: Apache-2.0
#include "phone-side/devices/device_model.hpp"

#include <bit>

#include "machine/phone.hpp"
#include "machine/virtio_features.hpp"

namespace amphion::devices {
namespace {

using machine::VirtioSlot;

// A slot without a device says so by DeviceID 0.
constexpr std::uint32_t magic = 0x00, version = 0x04, vendor = 0x0c;

std::uint32_t read_empty_slot(std::uint32_t offset) {
  if (offset == magic) return machine::virtio_mmio_magic;
  if (offset == version) return machine::virtio_mmio_version;
  if (offset == vendor) return machine::virtio_mmio_vendor;
  return 0;
}

}  // namespace

DeviceModel::DeviceModel(GuestMemory& memory, RegisterPage& page, Disk& disk0, Outlets outlets)
    : disk0_(disk0, memory, {page, VirtioSlot::disk0}),
      network_(outlets.network, memory, {page, VirtioSlot::network}),
      console_(std::move(outlets.port), memory, {page, VirtioSlot::console}),
      keyboard_(memory, {page, VirtioSlot::keyboard}),
      entropy_(std::move(outlets.entropy), memory, {page, VirtioSlot::entropy}),
      balloon_(std::move(outlets.discard), memory, {page, VirtioSlot::balloon}),
      page_(page) {
  reset();
}

std::uint32_t DeviceModel::read(std::uint32_t address, std::uint32_t bytes) {
  if (machine::pcie_ecam.contains(address, bytes)) return pcie_.read(address - machine::pcie_ecam.base, bytes);
  if (machine::virtio.contains(address, bytes)) {
    const std::uint32_t offset = address - machine::virtio.base;
    const std::uint32_t within = offset % machine::virtio_slot_bytes;
    return within + bytes <= machine::virtio_slot_bytes ? read_empty_slot(within) : 0;
  }
  return bytes == 4 ? ~0u : (1u << (8 * bytes)) - 1;
}

void DeviceModel::write(std::uint32_t address, std::uint32_t bytes, std::uint32_t value) {
  if (machine::pcie_ecam.contains(address, bytes)) return pcie_.write(address - machine::pcie_ecam.base, bytes, value);
  if (!machine::virtio.contains(address, bytes)) return;
  const std::uint32_t offset = address - machine::virtio.base;
  const std::uint32_t within = offset % machine::virtio_slot_bytes;
  VirtioDevice* d = device(offset / machine::virtio_slot_bytes);
  if (d != nullptr && within + bytes <= machine::virtio_slot_bytes) d->write(within, bytes, value);
}

void DeviceModel::ring(std::uint32_t slot, std::uint32_t queues) {
  VirtioDevice* d = device(slot);
  for (std::uint32_t left = d != nullptr ? queues : 0; left != 0; left &= left - 1)
    d->notify(static_cast<std::uint32_t>(std::countr_zero(left)));
}

void DeviceModel::reset() {
  pcie_.reset();
  for (std::uint32_t slot = 0; slot < machine::virtio_slots; ++slot)
    if (VirtioDevice* d = device(slot))
      d->reset();
    else
      for (const std::uint32_t offset : {magic, version, vendor}) page_.show(slot, offset, read_empty_slot(offset));
}

void DeviceModel::save(machine::InstanceState& state) const {
  pcie_.save(*state.mutable_pcie());
  state.clear_virtio();
  for (std::uint32_t slot = 0; slot < machine::virtio_slots; ++slot) {
    const VirtioDevice* d = device(slot);
    if (d == nullptr) continue;
    auto* saved = state.add_virtio();
    saved->set_slot(slot);
    d->save(*saved);
  }
  state.set_input_sequence(keyboard_.reached());
}

void DeviceModel::restore(const machine::InstanceState& state) {
  reset();  // for a device that is younger than the state
  pcie_.restore(state.pcie());
  keyboard_.restore_sequence(state.input_sequence());
  for (const auto& saved : state.virtio())
    if (VirtioDevice* d = device(saved.slot())) d->restore(saved);
}

}  // namespace amphion::devices
