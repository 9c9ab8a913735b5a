// SPDX-License-Identifier: Apache-2.0
#include "phone-side/devices/device_model.hpp"

#include "machine/phone.hpp"
#include "machine/virtio_features.hpp"

namespace amphion::devices {
namespace {

using machine::VirtioSlot;

std::function<void(bool)> line(InterruptLines& lines, std::uint32_t intid) {
  return [&lines, intid](bool level) { lines.set(intid, level); };
}

// A slot without a device says so by DeviceID 0.
std::uint32_t read_empty_slot(std::uint32_t offset) {
  constexpr std::uint32_t magic = 0x00, version = 0x04, vendor = 0x0c;
  if (offset == magic) return machine::virtio_mmio_magic;
  if (offset == version) return machine::virtio_mmio_version;
  if (offset == vendor) return machine::virtio_mmio_vendor;
  return 0;
}

}  // namespace

DeviceModel::DeviceModel(GuestMemory& memory, InterruptLines& lines, Disk& disk0, Outlets outlets)
    : disk0_(disk0, memory, line(lines, virtio_slot_irq(VirtioSlot::disk0))),
      console_(std::move(outlets.port), memory, line(lines, virtio_slot_irq(VirtioSlot::console))),
      keyboard_(memory, line(lines, virtio_slot_irq(VirtioSlot::keyboard))),
      balloon_(std::move(outlets.discard), memory, line(lines, virtio_slot_irq(VirtioSlot::balloon))),
      uart_(std::move(outlets.uart), line(lines, machine::pl011_irq)) {}

std::uint32_t DeviceModel::read(std::uint32_t address, std::uint32_t bytes) {
  if (machine::pl011.contains(address, bytes)) return uart_.read(address - machine::pl011.base);
  if (machine::pcie_ecam.contains(address, bytes)) return pcie_.read(address - machine::pcie_ecam.base, bytes);
  if (machine::virtio.contains(address, bytes)) {
    const std::uint32_t offset = address - machine::virtio.base;
    const std::uint32_t within = offset % machine::virtio_slot_bytes;
    if (within + bytes > machine::virtio_slot_bytes) return 0;
    if (VirtioDevice* d = device(offset / machine::virtio_slot_bytes)) return d->read(within, bytes);
    return read_empty_slot(within);
  }
  return bytes == 4 ? ~0u : (1u << (8 * bytes)) - 1;
}

void DeviceModel::write(std::uint32_t address, std::uint32_t bytes, std::uint32_t value) {
  if (machine::pl011.contains(address, bytes)) return uart_.write(address - machine::pl011.base, value);
  if (machine::pcie_ecam.contains(address, bytes)) return pcie_.write(address - machine::pcie_ecam.base, bytes, value);
  if (!machine::virtio.contains(address, bytes)) return;
  const std::uint32_t offset = address - machine::virtio.base;
  const std::uint32_t within = offset % machine::virtio_slot_bytes;
  VirtioDevice* d = device(offset / machine::virtio_slot_bytes);
  if (d != nullptr && within + bytes <= machine::virtio_slot_bytes) d->write(within, bytes, value);
}

void DeviceModel::reset() {
  uart_.reset();
  pcie_.reset();
  for (std::uint32_t slot = 0; slot < machine::virtio_slots; ++slot)
    if (VirtioDevice* d = device(slot)) d->reset();
}

void DeviceModel::save(machine::InstanceState& state) const {
  uart_.save(*state.mutable_pl011());
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
  uart_.restore(state.pl011());
  pcie_.restore(state.pcie());
  keyboard_.restore_sequence(state.input_sequence());
  for (const auto& saved : state.virtio())
    if (VirtioDevice* d = device(saved.slot())) d->restore(saved);
}

}  // namespace amphion::devices
