// SPDX-License-Identifier: Apache-2.0
// The PCIe host of the phone machine, seen through its ECAM window: a host bridge and four root ports with nothing
// behind them. What a guest can write it reads back (bus numbers, windows, command); the rest stands still.
// Thread safety: none; the DeviceModel serialises. Values: machine/pcie_config.hpp.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "machine/pcie_config.hpp"
#include "machine/phone.hpp"
#include "machine/state.pb.h"

namespace amphion::devices {

class Pcie {
 public:
  Pcie();

  // Offset within the ECAM window, bytes 1, 2 or 4, not crossing its end. Absent functions read all ones.
  [[nodiscard]] std::uint32_t read(std::uint32_t offset, std::uint32_t bytes) const;
  void write(std::uint32_t offset, std::uint32_t bytes, std::uint32_t value);

  void reset();
  void save(machine::Pcie& state) const;
  // Only what is writable is taken over: nothing is behind the ports here, whatever was elsewhere.
  void restore(const machine::Pcie& state);

 private:
  using Space = std::array<std::uint8_t, machine::pcie_port_config_bytes>;
  static constexpr std::uint32_t functions = 1 + machine::pcie_root_ports;  // 0: the host bridge

  std::array<Space, functions> config_{};
  std::array<Space, functions> writable_{};
};

}  // namespace amphion::devices
