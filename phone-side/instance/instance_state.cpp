// SPDX-License-Identifier: Apache-2.0
// Saving and restoring an instance (machine/state.proto).
#include <utility>

#include "machine/validate.hpp"
#include "phone-side/instance/instance.hpp"
#include "phone-side/instance/state_convert.hpp"

namespace amphion::instance {

Problem Instance::reset_processors() {
  for (std::uint32_t i = 0; i < config_.shape.vcpus; ++i)
    if (auto problem = partition_->set_vcpu(i, reset_vcpu_)) return problem;
  if (auto problem = partition_->set_gic(reset_gic_)) return problem;
  return partition_->set_uart(reset_uart_);
}

// The GIC's state was replaced: its input lines are what the devices say. Nothing is behind the root ports.
void Instance::push_lines() {
  for (std::uint32_t slot = 0; slot < machine::virtio_slots; ++slot) partition_->change_interrupt(slot, 0, 0);
  for (std::uint32_t pin = 0; pin < 4; ++pin) partition_->set_line(machine::pcie_intx_irq + pin, false);
}

Problem Instance::save(machine::InstanceState& state) {
  if (!stopped()) return "only a stopped instance can be saved";
  state.Clear();
  state.mutable_shape()->set_vcpus(config_.shape.vcpus);
  state.mutable_shape()->set_memory_bytes(config_.shape.memory_bytes);
  state.set_counter_frequency(counter_frequency_);
  state.set_vcpus_allowed(config_.vcpus_allowed);
  std::uint64_t counter = 0;
  if (auto problem = partition_->get_counter(counter)) return problem;
  state.set_counter(counter);
  for (std::uint32_t i = 0; i < config_.shape.vcpus; ++i) {
    amphion_vcpu vcpu{};
    if (auto problem = partition_->get_vcpu(i, vcpu)) return problem;
    *state.add_vcpus() = to_state(vcpu);
  }
  amphion_gic gic{};
  if (auto problem = partition_->get_gic(gic)) return problem;
  *state.mutable_gic() = to_state(gic, config_.shape.vcpus);
  amphion_uart uart{};
  if (auto problem = partition_->get_uart(uart)) return problem;
  *state.mutable_pl011() = to_state(uart);
  const std::lock_guard lock(model_mutex_);
  model_.save(state);
  return {};
}

Problem Instance::check_restorable(const machine::InstanceState& state) const {
  if (auto problem = machine::validate(state)) return problem;
  const auto shape = machine::shape_of(state);
  if (shape.vcpus != config_.shape.vcpus || shape.memory_bytes != config_.shape.memory_bytes)
    return "the saved state is of an instance of another shape";
  if (state.counter_frequency() != counter_frequency_)
    return "the saved state's counter runs at " + std::to_string(state.counter_frequency()) + " Hz, this board's at " +
           std::to_string(counter_frequency_);
  for (const auto& device : state.virtio())
    if (device.has_network() && machine::mac_of(device.network()) != config_.network.mac)
      return "the saved state is of an instance with another network address";
  for (const auto& device : state.virtio())
    if (device.has_blk() && device.blk().capacity_sectors() * machine::virtio_blk_sector_bytes != disk_.size_bytes())
      return "the saved state is of an instance with a disk of another size";
  return {};
}

Problem Instance::restore(const machine::InstanceState& state) {
  if (!stopped()) return "only a stopped instance can be restored";
  if (auto problem = check_restorable(state)) return problem;
  fresh_ = false;
  const std::lock_guard lock(model_mutex_);
  model_.restore(state);
  for (std::uint32_t i = 0; i < config_.shape.vcpus; ++i)
    if (auto problem = partition_->set_vcpu(i, from_state(state.vcpus(static_cast<int>(i))))) return problem;
  if (auto problem = partition_->set_gic(from_state(state.gic()))) return problem;
  if (auto problem = partition_->set_counter(state.counter())) return problem;
  push_lines();
  if (auto problem = partition_->set_uart(from_state(state.pl011()))) return problem;
  return hold_screen();
}

}  // namespace amphion::instance
