// SPDX-License-Identifier: Apache-2.0
// A saved state that validate() accepts, of a machine that has never run. For tests that carry states without looking
// inside.
#pragma once

#include "machine/pcie_config.hpp"
#include "machine/state.pb.h"
#include "machine/virtio_features.hpp"

namespace amphion::cloud::testing {

inline void add_vcpu(machine::InstanceState& state) {
  auto& vcpu = *state.add_vcpus();
  for (int i = 0; i < 16; ++i) vcpu.add_r(0);
  for (int i = 0; i < 5; ++i) vcpu.add_r_fiq(0);
  for (int i = 0; i < 32; ++i) vcpu.add_d(0);
  vcpu.set_cpsr(0x13);
  auto& gic = *state.mutable_gic()->add_cpus();
  for (int i = 0; i < 32; ++i) gic.add_private_lines();
  for (int i = 0; i < 16; ++i) gic.add_sgi_sources(0);
}

inline void add_virtio(machine::InstanceState& state, std::uint32_t slot, std::uint64_t disk_bytes) {
  const auto* model = machine::virtio_model(static_cast<machine::VirtioSlot>(slot));
  if (model == nullptr) return;
  auto& device = *state.add_virtio();
  device.set_slot(slot);
  device.set_device_id(model->device_id);
  for (std::uint32_t i = 0; i < model->queues; ++i) device.add_queues()->set_size_max(machine::virtio_queue_size_max);
  switch (model->device_id) {
    case machine::virtio_id_block:
      device.mutable_blk()->set_capacity_sectors(disk_bytes / 512);
      break;
    case machine::virtio_id_network:
      device.mutable_network()->set_mac(std::string("\x02\0\0\0\0\x01", 6));
      break;
    case machine::virtio_id_console:
      for (std::uint32_t i = 0; i < machine::virtio_console_ports; ++i)
        device.mutable_console()->add_ports()->set_id(i);
      break;
    case machine::virtio_id_input:
      device.mutable_input();
      break;
    case machine::virtio_id_balloon:
      device.mutable_balloon();
      break;
    default:
      break;
  }
}

inline machine::InstanceState sample_state(const machine::Shape& shape, std::uint64_t disk_bytes) {
  machine::InstanceState state;
  state.mutable_shape()->set_vcpus(shape.vcpus);
  state.mutable_shape()->set_memory_bytes(shape.memory_bytes);
  state.set_counter_frequency(62'500'000);
  for (std::uint32_t i = 0; i < shape.vcpus; ++i) add_vcpu(state);
  for (std::uint32_t i = machine::spi_base; i < machine::irq_lines; ++i) state.mutable_gic()->add_spis();
  state.mutable_pl011();
  for (std::uint32_t slot = 0; slot < machine::virtio_slots; ++slot) add_virtio(state, slot, disk_bytes);
  state.mutable_pcie()->set_host_bridge(std::string(machine::pcie_bridge_config_bytes, '\0'));
  for (std::uint32_t i = 0; i < machine::pcie_root_ports; ++i) {
    state.mutable_pcie()->add_root_ports()->set_config(std::string(machine::pcie_port_config_bytes, '\0'));
  }
  return state;
}

}  // namespace amphion::cloud::testing
