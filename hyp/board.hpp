// SPDX-License-Identifier: Apache-2.0
// The board interface: what a board folder fills in, as one constexpr value in amphion::board (board/boards.hpp).
// Data only; the README of each board folder says where each constant is documented.
#pragma once

#include <array>
#include <cstdint>

namespace amphion::hyp {

struct Board {
  static constexpr std::uint32_t no_function = 0;  // the firmware cannot do this

  const char* name;

  std::uint32_t ram_base;       // also where the hypervisor's region begins
  std::uint32_t ram_max_bytes;  // nothing above is taken for memory
  std::uint32_t hypervisor_bytes;
  std::uint32_t load_address;  // of the image, inside the hypervisor's region
  std::uint32_t bundle_limit;  // nothing of the bundle lies at or above this address

  std::uint32_t run_log;  // memory below the image that neither loader nor firmware writes: it survives a warm reset
  std::uint32_t run_log_bytes;

  struct Uart {
    enum class Kind { pl011, designware } kind;
    std::uint32_t base;
  } uart;  // set up by the loader

  struct Gic {
    std::uint32_t distributor;        // GICD
    std::uint32_t cpu_interface;      // GICC
    std::uint32_t virtual_control;    // GICH
    std::uint32_t virtual_interface;  // GICV
    std::uint32_t region_base;        // everything of the GIC; the host instance sees only GICD and GICC (as GICV)
    std::uint32_t region_bytes;
  } gic;

  struct Interrupts {
    std::uint32_t maintenance;       // GIC maintenance, INTID
    std::uint32_t hypervisor_timer;  // CNTHP
    std::uint32_t virtual_timer;     // CNTV
    std::uint32_t amphion_event;     // virtual, to the host instance
  } interrupts;

  std::uint32_t max_cpus;
  std::uint32_t psci_cpu_on;  // function identifiers of the firmware, by SMC; the next two may be no_function
  std::uint32_t psci_system_off;
  std::uint32_t psci_system_reset;

  struct Write {
    std::uint32_t address, value;  // address 0: none
  };
  std::array<Write, 3> reset;  // of device registers, in this order; where the firmware has no SYSTEM_RESET
};

}  // namespace amphion::hyp
