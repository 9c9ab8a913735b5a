// SPDX-License-Identifier: Apache-2.0
#include "machine/validate.hpp"

#include <algorithm>

#include "machine/pcie_config.hpp"
#include "machine/virtio_features.hpp"

namespace amphion::machine {
namespace {

using Problem = std::optional<std::string>;

Problem wrong(const std::string& what) { return "saved state refused: " + what; }

std::string number(std::uint64_t n) { return std::to_string(n); }

Problem check_vcpu(const Vcpu& vcpu, std::uint32_t index) {
  const std::string name = "vcpu " + number(index) + ": ";
  if (vcpu.power() != Vcpu::POWER_OFF && vcpu.power() != Vcpu::POWER_ON) return wrong(name + "unknown power state");
  if (vcpu.r_size() != 16) return wrong(name + "needs 16 general registers");
  if (vcpu.r_fiq_size() != 5) return wrong(name + "needs 5 FIQ registers");
  if (vcpu.d_size() != 32) return wrong(name + "needs 32 double registers");
  if (vcpu.virtual_timer().ctl() > 3 || vcpu.physical_timer().ctl() > 3) return wrong(name + "timer control");
  const std::uint32_t mode = vcpu.cpsr() & 0x1f;
  for (const std::uint32_t legal : {0x10u, 0x11u, 0x12u, 0x13u, 0x17u, 0x1bu, 0x1fu})
    if (mode == legal) return {};
  return wrong(name + "CPSR names a mode that a guest cannot be in");
}

Problem check_line(const GicLine& line, std::uint32_t intid) {
  if (line.group() > 1 || line.priority() > 0xff || line.targets() > 0xff)
    return wrong("interrupt " + number(intid) + ": group, priority or targets out of range");
  return {};
}

Problem check_gic_cpu(const GicCpu& cpu, std::uint32_t vcpus) {
  if (cpu.private_lines_size() != 32) return wrong("GIC needs 32 private lines a vcpu");
  if (cpu.sgi_sources_size() != 16) return wrong("GIC needs 16 SGI sources a vcpu");
  for (int i = 0; i < 32; ++i)
    if (auto problem = check_line(cpu.private_lines(i), static_cast<std::uint32_t>(i))) return problem;
  for (const auto sources : cpu.sgi_sources())
    if (sources >> vcpus != 0) return wrong("an SGI comes from a vcpu that does not exist");
  if (cpu.gicc_ctlr() >= 1u << 10 || cpu.gicc_pmr() > 0xff || cpu.gicc_bpr() > 7 || cpu.gicc_abpr() > 7)
    return wrong("GIC CPU interface register out of range");
  return {};
}

Problem check_gic(const Gic& gic, std::uint32_t vcpus) {
  if (gic.gicd_ctlr() > 3) return wrong("GICD_CTLR out of range");
  if (gic.cpus_size() != static_cast<int>(vcpus)) return wrong("GIC state is not that of " + number(vcpus) + " vcpus");
  for (const auto& cpu : gic.cpus())
    if (auto problem = check_gic_cpu(cpu, vcpus)) return problem;
  if (gic.spis_size() != static_cast<int>(irq_lines - spi_base)) return wrong("GIC needs 256 shared lines");
  for (int i = 0; i < gic.spis_size(); ++i)
    if (auto problem = check_line(gic.spis(i), spi_base + static_cast<std::uint32_t>(i))) return problem;
  return {};
}

Problem check_pl011(const Pl011& uart) {
  if (uart.dr_fifo_count() > 16 || uart.rx_fifo().size() != uart.dr_fifo_count()) return wrong("PL011 receive FIFO");
  if (uart.rsr() > 0xf || uart.ilpr() > 0xff || uart.ibrd() > 0xffff || uart.fbrd() > 0x3f || uart.lcr_h() > 0xff ||
      uart.cr() > 0xffff || uart.ifls() > 0x3f || uart.imsc() > 0x7ff || uart.ris() > 0x7ff || uart.dmacr() > 7)
    return wrong("PL011 register out of range");
  return {};
}

bool inside_memory(std::uint64_t address, std::uint64_t bytes, const Shape& shape) {
  return address >= ram_base && address - ram_base <= shape.memory_bytes &&
         bytes <= shape.memory_bytes - (address - ram_base);
}

Problem check_queue(const VirtQueue& queue, const std::string& name, const Shape& shape) {
  if (queue.size_max() != virtio_queue_size_max) return wrong(name + "largest queue size differs from the machine's");
  if (queue.size() > virtio_queue_size_max || (queue.size() & (queue.size() - 1)) != 0)
    return wrong(name + "queue size");
  if (queue.last_avail() > 0xffff || queue.used() > 0xffff) return wrong(name + "queue index");
  if (!queue.ready()) return {};
  const std::uint64_t size = queue.size();
  if (size == 0) return wrong(name + "a ready queue of size 0");
  if (!inside_memory(queue.desc(), 16 * size, shape) || !inside_memory(queue.driver(), 6 + 2 * size, shape) ||
      !inside_memory(queue.device(), 6 + 8 * size, shape))
    return wrong(name + "queue outside memory");
  if (queue.desc() % 16 != 0 || queue.driver() % 2 != 0 || queue.device() % 4 != 0)
    return wrong(name + "queue alignment");
  return {};
}

Problem check_console(const VirtioConsole& console) {
  if (console.ports_size() != static_cast<int>(virtio_console_ports)) return wrong("console needs two ports");
  for (int i = 0; i < console.ports_size(); ++i)
    if (console.ports(i).id() != static_cast<std::uint32_t>(i)) return wrong("console ports are not in order");
  return {};
}

Problem check_device(const VirtioDevice& device, const std::string& name, const Shape& shape) {
  switch (static_cast<VirtioSlot>(device.slot())) {
    case VirtioSlot::disk0:
      if (!device.has_blk() || device.blk().capacity_sectors() == 0) return wrong(name + "block state is missing");
      return {};
    case VirtioSlot::network:
      if (!device.has_network() || !mac_of(device.network()))
        return wrong(name + "network state needs a locally administered address of 6 bytes");
      return {};
    case VirtioSlot::console:
      if (!device.has_console()) return wrong(name + "console state is missing");
      return check_console(device.console());
    case VirtioSlot::keyboard:
      if (!device.has_input()) return wrong(name + "input state is missing");
      if (device.input().select() > 0xff || device.input().subsel() > 0xff || device.input().led_state().size() > 8)
        return wrong(name + "input state out of range");
      return {};
    case VirtioSlot::entropy:
      if (device.device_case() != VirtioDevice::DEVICE_NOT_SET) return wrong(name + "entropy has no state of its own");
      return {};
    case VirtioSlot::balloon:
      if (!device.has_balloon()) return wrong(name + "balloon state is missing");
      // `actual` is whatever the driver says: a guest must not pin itself by it.
      if (device.balloon().num_pages() > shape.memory_bytes / page_bytes)
        return wrong(name + "balloon larger than memory");
      return {};
    default:
      return wrong(name + "this slot is empty in the phone machine");
  }
}

Problem check_virtio(const VirtioDevice& device, const Shape& shape) {
  const std::string name = "virtio slot " + number(device.slot()) + ": ";
  const VirtioModel* model =
      device.slot() < virtio_slots ? virtio_model(static_cast<VirtioSlot>(device.slot())) : nullptr;
  if (model == nullptr || device.device_id() != model->device_id)
    return wrong(name + "no such device in the phone machine");
  if ((device.driver_features() & ~model->features) != 0)
    return wrong(name + "features that the machine does not offer");
  if (device.status() > 0xff || device.interrupt_status() > 3) return wrong(name + "status out of range");
  if (device.queues_size() != static_cast<int>(model->queues)) return wrong(name + "wrong number of queues");
  for (const auto& queue : device.queues())
    if (auto problem = check_queue(queue, name, shape)) return problem;
  return check_device(device, name, shape);
}

Problem check_virtio_devices(const InstanceState& state, const Shape& shape) {
  int expected = 0;
  for (std::uint32_t slot = 0; slot < virtio_slots; ++slot) {
    const VirtioModel* model = virtio_model(static_cast<VirtioSlot>(slot));
    if (model == nullptr) continue;
    const bool there = expected < state.virtio_size() && state.virtio(expected).slot() == slot;
    if (!there && model->added_later) continue;
    if (!there) return wrong("virtio slot " + number(slot) + " is missing or out of order");
    if (auto problem = check_virtio(state.virtio(expected), shape)) return problem;
    ++expected;
  }
  if (expected != state.virtio_size()) return wrong("more virtio devices than the phone machine has");
  return {};
}

Problem check_pcie(const Pcie& pcie) {
  if (pcie.host_bridge().size() != pcie_bridge_config_bytes) return wrong("host bridge needs 256 bytes");
  if (pcie.root_ports_size() != static_cast<int>(pcie_root_ports)) return wrong("PCIe needs four root ports");
  for (const auto& port : pcie.root_ports())
    if (port.config().size() != pcie_port_config_bytes || port.intx_level() > 0xf) return wrong("root port state");
  return {};
}

}  // namespace

std::optional<Mac> mac_of(const VirtioNetwork& network) {
  Mac mac{};
  if (network.mac().size() != mac.size()) return {};
  std::copy(network.mac().begin(), network.mac().end(), mac.begin());
  if (!valid_mac(mac)) return {};
  return mac;
}

Problem validate(const InstanceState& state) {
  const Shape shape = shape_of(state);
  if (!shape.valid())
    return wrong("shape of " + number(shape.vcpus) + " vcpus and " + number(shape.memory_bytes) + " bytes");
  if (state.counter_frequency() == 0) return wrong("counter frequency is 0");
  if (state.vcpus_size() != static_cast<int>(shape.vcpus)) return wrong("needs " + number(shape.vcpus) + " vcpus");
  for (int i = 0; i < state.vcpus_size(); ++i)
    if (auto problem = check_vcpu(state.vcpus(i), static_cast<std::uint32_t>(i))) return problem;
  if (state.vcpus_allowed() > shape.vcpus) return wrong("more vcpus allowed than there are");
  if (auto problem = check_gic(state.gic(), shape.vcpus)) return problem;
  if (auto problem = check_pl011(state.pl011())) return problem;
  if (auto problem = check_virtio_devices(state, shape)) return problem;
  return check_pcie(state.pcie());
}

}  // namespace amphion::machine
