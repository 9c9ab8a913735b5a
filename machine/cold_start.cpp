// SPDX-License-Identifier: Apache-2.0
#include "machine/cold_start.hpp"

#include "machine/device_tree.hpp"
#include "machine/pcie_config.hpp"
#include "machine/virtio_features.hpp"

namespace amphion::machine {
namespace {

constexpr std::uint32_t reset_cpsr = 0x1d3;         // supervisor mode; aborts, IRQ and FIQ masked
constexpr std::uint32_t reset_sctlr = 0x00c5'0078;  // Cortex-A7: MMU and caches off
constexpr std::uint32_t reset_uart_cr = 0x300;      // transmit and receive enabled
constexpr std::uint32_t reset_uart_ifls = 0x12;
constexpr std::uint32_t reset_abpr = 1;
constexpr std::uint32_t sgis = 16;

Vcpu reset_vcpu() {
  Vcpu vcpu;
  vcpu.set_power(Vcpu::POWER_OFF);
  for (int n = 0; n < 16; ++n) vcpu.add_r(0);
  for (int n = 0; n < 5; ++n) vcpu.add_r_fiq(0);
  for (int n = 0; n < 32; ++n) vcpu.add_d(0);
  vcpu.set_cpsr(reset_cpsr);
  for (auto* bank :
       {vcpu.mutable_svc(), vcpu.mutable_abt(), vcpu.mutable_und(), vcpu.mutable_irq(), vcpu.mutable_fiq()})
    bank->set_spsr(0);
  vcpu.mutable_cp15()->set_sctlr(reset_sctlr);
  vcpu.mutable_virtual_timer()->set_ctl(0);
  vcpu.mutable_physical_timer()->set_ctl(0);
  return vcpu;
}

GicLine reset_line(std::uint32_t intid, std::uint32_t targets) {
  GicLine line;
  line.set_enabled(intid < sgis);
  line.set_edge(intid < sgis);
  line.set_targets(targets);
  return line;
}

Gic reset_gic(std::uint32_t vcpus) {
  Gic gic;
  for (std::uint32_t cpu = 0; cpu < vcpus; ++cpu) {
    GicCpu* c = gic.add_cpus();
    for (std::uint32_t intid = 0; intid < spi_base; ++intid) *c->add_private_lines() = reset_line(intid, 1u << cpu);
    for (std::uint32_t sgi = 0; sgi < sgis; ++sgi) c->add_sgi_sources(0);
    c->set_gicc_abpr(reset_abpr);
  }
  for (std::uint32_t intid = spi_base; intid < irq_lines; ++intid)
    *gic.add_spis() = reset_line(intid, vcpus == 1 ? 1 : 0);
  return gic;
}

VirtioDevice reset_device(std::uint32_t slot, const VirtioModel& model, std::uint64_t disk_sectors, const Mac& mac) {
  VirtioDevice device;
  device.set_slot(slot);
  device.set_device_id(model.device_id);
  for (std::uint32_t n = 0; n < model.queues; ++n) device.add_queues()->set_size_max(virtio_queue_size_max);
  if (model.device_id == virtio_id_block) {
    device.mutable_blk()->set_capacity_sectors(disk_sectors);
    device.mutable_blk()->set_writeback(true);
  }
  if (model.device_id == virtio_id_network) {
    device.mutable_network()->set_mac(mac.data(), mac.size());
    device.mutable_network()->set_link_up(true);
  }
  if (model.device_id == virtio_id_console)
    for (std::uint32_t id = 0; id < virtio_console_ports; ++id) {
      auto* port = device.mutable_console()->add_ports();
      port->set_id(id);
      port->set_host_connected(id == console_port);  // a console is always there, whether anybody looks at it or not
    }
  if (model.device_id == virtio_id_input) device.mutable_input();
  if (model.device_id == virtio_id_balloon) device.mutable_balloon();
  return device;
}

void put(std::string& config, std::uint32_t offset, std::uint32_t value) {
  for (unsigned i = 0; i < 4; ++i) config[offset + i] = static_cast<char>(value >> (8 * i) & 0xff);
}

Pcie reset_pcie() {
  Pcie pcie;
  std::string bridge(pcie_bridge_config_bytes, '\0');
  for (const auto& word : pcie_host_bridge) put(bridge, word.offset, word.reset);
  pcie.set_host_bridge(bridge);
  for (std::uint32_t port = 0; port < pcie_root_ports; ++port) {
    std::string config(pcie_port_config_bytes, '\0');
    for (const auto& word : pcie_root_port) put(config, word.offset, pcie_root_port_reset(word, port));
    pcie.add_root_ports()->set_config(config);
  }
  return pcie;
}

}  // namespace

InstanceState cold_state(const Shape& shape, std::uint32_t counter_frequency, std::uint64_t disk_sectors,
                         const Mac& mac) {
  InstanceState state;
  state.mutable_shape()->set_vcpus(shape.vcpus);
  state.mutable_shape()->set_memory_bytes(shape.memory_bytes);
  state.set_vcpus_allowed(shape.vcpus);
  state.set_counter_frequency(counter_frequency);
  for (std::uint32_t n = 0; n < shape.vcpus; ++n) *state.add_vcpus() = reset_vcpu();
  Vcpu& boot = *state.mutable_vcpus(0);
  boot.set_power(Vcpu::POWER_ON);
  boot.set_r(1, 0xffff'ffff);
  boot.set_r(2, ram_base + device_tree_offset);
  boot.set_r(15, ram_base + kernel_offset);
  *state.mutable_gic() = reset_gic(shape.vcpus);
  state.mutable_pl011()->set_cr(reset_uart_cr);
  state.mutable_pl011()->set_ifls(reset_uart_ifls);
  for (std::uint32_t slot = 0; slot < virtio_slots; ++slot)
    if (const auto* model = virtio_model(static_cast<VirtioSlot>(slot)))
      *state.add_virtio() = reset_device(slot, *model, disk_sectors, mac);
  *state.mutable_pcie() = reset_pcie();
  return state;
}

}  // namespace amphion::machine
