// SPDX-License-Identifier: Apache-2.0
#include "phone-side/devices/pcie.hpp"

#include <algorithm>

namespace amphion::devices {
namespace {

constexpr std::uint32_t function_bytes = 4096, device_bytes = 8 * function_bytes;

void store_word(std::span<std::uint8_t> bytes, std::uint32_t offset, std::uint32_t value) {
  for (std::uint32_t i = 0; i < 4; ++i) bytes[offset + i] = static_cast<std::uint8_t>(value >> (8 * i));
}

// Function 0 of devices 0..4 of bus 0 exist; `none` otherwise.
constexpr std::uint32_t none = ~0u;
std::uint32_t function_at(std::uint32_t offset) {
  const std::uint32_t device = offset / device_bytes, within = offset % device_bytes;
  if (device > machine::pcie_root_ports || within >= function_bytes) return none;
  if (device == 0 && within >= machine::pcie_bridge_config_bytes) return none;
  return device;
}

}  // namespace

Pcie::Pcie() {
  for (const auto& word : machine::pcie_host_bridge) store_word(writable_[0], word.offset, word.writable);
  for (std::uint32_t port = 0; port < machine::pcie_root_ports; ++port)
    for (const auto& word : machine::pcie_root_port) store_word(writable_[port + 1], word.offset, word.writable);
  reset();
}

void Pcie::reset() {
  for (auto& space : config_) space.fill(0);
  for (const auto& word : machine::pcie_host_bridge) store_word(config_[0], word.offset, word.reset);
  for (std::uint32_t port = 0; port < machine::pcie_root_ports; ++port)
    for (const auto& word : machine::pcie_root_port)
      store_word(config_[port + 1], word.offset, machine::pcie_root_port_reset(word, port));
}

std::uint32_t Pcie::read(std::uint32_t offset, std::uint32_t bytes) const {
  std::uint32_t value = 0;
  for (std::uint32_t i = 0; i < bytes; ++i) {
    const std::uint32_t function = function_at(offset + i);
    const std::uint32_t byte = function == none ? 0xff : config_[function][(offset + i) % function_bytes];
    value |= byte << (8 * i);
  }
  return value;
}

void Pcie::write(std::uint32_t offset, std::uint32_t bytes, std::uint32_t value) {
  for (std::uint32_t i = 0; i < bytes; ++i) {
    const std::uint32_t function = function_at(offset + i);
    if (function == none) continue;
    const std::uint32_t at = (offset + i) % function_bytes;
    const std::uint32_t mask = writable_[function][at];
    config_[function][at] = static_cast<std::uint8_t>((config_[function][at] & ~mask) | ((value >> (8 * i)) & mask));
  }
}

void Pcie::save(machine::Pcie& state) const {
  state.Clear();
  state.mutable_host_bridge()->assign(config_[0].begin(), config_[0].begin() + machine::pcie_bridge_config_bytes);
  for (std::uint32_t port = 0; port < machine::pcie_root_ports; ++port)
    state.add_root_ports()->mutable_config()->assign(config_[port + 1].begin(), config_[port + 1].end());
}

void Pcie::restore(const machine::Pcie& state) {
  reset();
  const auto take = [this](std::uint32_t function, const std::string& bytes) {
    for (std::size_t i = 0; i < std::min(bytes.size(), config_[function].size()); ++i) {
      const unsigned mask = writable_[function][i];
      config_[function][i] =
          static_cast<std::uint8_t>((config_[function][i] & ~mask) | (static_cast<std::uint8_t>(bytes[i]) & mask));
    }
  };
  take(0, state.host_bridge());
  for (std::uint32_t port = 0; port < machine::pcie_root_ports; ++port)
    take(port + 1, state.root_ports(static_cast<int>(port)).config());
}

}  // namespace amphion::devices
