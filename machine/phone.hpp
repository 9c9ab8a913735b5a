// SPDX-License-Identifier: Apache-2.0
// The phone machine: the guest-visible memory map, interrupt numbers and device slots.
// A subset of QEMU's `virt` machine (hw/arm/virt.c, base_memmap and a15irqmap) with gic-version=2,highmem=off.
// Used by the device tree, the hypervisor, the phone's device model and the cloud's QEMU command line.
// Freestanding: constants only.
#pragma once

#include <cstdint>

namespace amphion::machine {

struct Window {
  std::uint32_t base;
  std::uint32_t size_bytes;

  [[nodiscard]] constexpr bool contains(std::uint64_t address, std::uint32_t access_bytes) const {
    return address >= base && address + access_bytes <= std::uint64_t{base} + size_bytes;
  }
};

inline constexpr std::uint32_t page_bytes = 4096;

inline constexpr Window gicd{0x0800'0000, 0x1'0000};
inline constexpr Window gicc{0x0801'0000, 0x1'0000};
inline constexpr Window pl011{0x0900'0000, 0x1000};
inline constexpr Window virtio{0x0a00'0000, 0x4000};
inline constexpr Window pcie_memory{0x1000'0000, 0x2eff'0000};
inline constexpr Window pcie_io{0x3eff'0000, 0x1'0000};
inline constexpr Window pcie_ecam{0x3f00'0000, 0x100'0000};
inline constexpr std::uint32_t ram_base = 0x4000'0000;

// Everything below RAM that is not the GIC belongs to the device model.
inline constexpr Window devices{pl011.base, ram_base - pl011.base};

// Interrupt identifiers are GIC INTIDs (SPI n is INTID 32 + n).
inline constexpr std::uint32_t spi_base = 32;
inline constexpr std::uint32_t irq_lines = 288;  // 32 private + 256 SPIs, as QEMU's virt
inline constexpr std::uint32_t pl011_irq = spi_base + 1;
inline constexpr std::uint32_t pcie_intx_irq = spi_base + 3;  // INTA..INTD: four lines
inline constexpr std::uint32_t virtio_irq = spi_base + 16;    // one line a slot
inline constexpr std::uint32_t timer_secure_physical_irq = 29;
inline constexpr std::uint32_t timer_physical_irq = 30;
inline constexpr std::uint32_t timer_virtual_irq = 27;
inline constexpr std::uint32_t timer_hypervisor_irq = 26;

// Slot n is QEMU's virtio-mmio-bus.n. All are in the device tree from the first boot; an empty one answers DeviceID 0.
enum class VirtioSlot : std::uint32_t {
  disk0 = 0,
  disk1 = 1,
  network = 2,
  console = 3,
  keyboard = 4,
  pointer = 5,
  entropy = 6,
  balloon = 7,
};
inline constexpr std::uint32_t virtio_slots = 8;
inline constexpr std::uint32_t virtio_slot_bytes = 0x200;

[[nodiscard]] constexpr Window virtio_window(VirtioSlot slot) {
  return {virtio.base + static_cast<std::uint32_t>(slot) * virtio_slot_bytes, virtio_slot_bytes};
}
[[nodiscard]] constexpr std::uint32_t virtio_slot_irq(VirtioSlot slot) {
  return virtio_irq + static_cast<std::uint32_t>(slot);
}

// Ports of the console slot (virtio-serial, multiport). Port 0 is /dev/hvc0.
inline constexpr std::uint32_t console_port = 0;
inline constexpr std::uint32_t grow_port = 1;
inline constexpr char grow_port_name[] = "org.amphion.grow.0";

inline constexpr std::uint32_t pcie_root_ports = 4;  // devices 1..4 of bus 0

struct Screen {
  static constexpr std::uint32_t width = 640;
  static constexpr std::uint32_t height = 480;
  static constexpr std::uint32_t stride_bytes = width * 2;  // r5g6b5
};
inline constexpr std::uint32_t screen_region_bytes = 4u << 20;  // the top of RAM

inline constexpr std::uint32_t max_vcpus = 4;
inline constexpr std::uint64_t min_memory_bytes = 64ull << 20;
inline constexpr std::uint64_t max_memory_bytes = 2ull << 30;

// The largest shape an instance may ever take; fixed when it is created.
struct Shape {
  std::uint32_t vcpus;         // 1..max_vcpus
  std::uint64_t memory_bytes;  // multiple of 2 MiB, min_memory_bytes..max_memory_bytes

  [[nodiscard]] constexpr bool valid() const {
    return vcpus >= 1 && vcpus <= max_vcpus && memory_bytes >= min_memory_bytes && memory_bytes <= max_memory_bytes &&
           memory_bytes % (2u << 20) == 0;
  }
  [[nodiscard]] constexpr std::uint64_t screen_base() const { return ram_base + memory_bytes - screen_region_bytes; }
};

}  // namespace amphion::machine
