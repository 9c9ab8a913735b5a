// SPDX-License-Identifier: Apache-2.0
// What boards with Allwinner's A20 and H3 have in common as far as the hypervisor sees them: the same GIC, UART and RAM
// at the same addresses, and U-Boot as loader and firmware. README.md beside this file says where it is documented.
#pragma once

#include "hyp/board.hpp"

namespace amphion::board {

// The watchdog's registers, which differ: written in this order they reset the board within half a second.
using Reset = std::array<hyp::Board::Write, 3>;
inline constexpr std::uint32_t watchdog_restart = 0xa57 << 1 | 1;

constexpr hyp::Board allwinner(const char* name, std::uint32_t cpus, const Reset& reset) {
  return {
      .name = name,
      .ram_base = 0x4000'0000,
      .ram_max_bytes = 0x4000'0000,
      .hypervisor_bytes = 0x4'0000,
      .load_address = 0x4001'0000,
      .bundle_limit = 0x4800'0000,
      .run_log = 0x4000'c000,
      .run_log_bytes = 0x4000,
      .uart = {.kind = hyp::Board::Uart::Kind::designware, .base = 0x01c2'8000},
      .gic = {.distributor = 0x01c8'1000,
              .cpu_interface = 0x01c8'2000,
              .virtual_control = 0x01c8'4000,
              .virtual_interface = 0x01c8'6000,
              .region_base = 0x01c8'1000,
              .region_bytes = 0x7000},
      .interrupts = {.maintenance = 25, .hypervisor_timer = 26, .virtual_timer = 27, .amphion_event = 232},
      .max_cpus = cpus,
      .psci_cpu_on = 0x95c1'ba60,
      .psci_system_off = hyp::Board::no_function,
      .psci_system_reset = hyp::Board::no_function,
      .reset = reset,
  };
}

}  // namespace amphion::board
