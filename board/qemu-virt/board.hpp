// SPDX-License-Identifier: Apache-2.0
// QEMU: -M virt,gic-version=2,virtualization=on,highmem=off -cpu cortex-a7. The development board.
// Addresses: QEMU's hw/arm/virt.c, base_memmap. QEMU loads a raw -kernel image 64 KiB above the start of RAM, and its
// own device tree 128 MiB above it (which is therefore where the bundle must end).
#pragma once

#include "hyp/board.hpp"

namespace amphion::board {

inline constexpr hyp::Board qemu_virt{
    .name = "qemu-virt",
    .ram_base = 0x4000'0000,
    .ram_max_bytes = 0xc000'0000,
    .hypervisor_bytes = 0x4'0000,
    .load_address = 0x4001'0000,
    .bundle_limit = 0x4800'0000,
    .run_log = 0x4000'c000,
    .run_log_bytes = 0x4000,
    .uart = {.kind = hyp::Board::Uart::Kind::pl011, .base = 0x0900'0000},
    .gic = {.distributor = 0x0800'0000,
            .cpu_interface = 0x0801'0000,
            .virtual_control = 0x0803'0000,
            .virtual_interface = 0x0804'0000,
            .region_base = 0x0800'0000,
            .region_bytes = 0x10'0000},
    .interrupts = {.maintenance = 25, .hypervisor_timer = 26, .virtual_timer = 27, .amphion_event = 232},
    .max_cpus = 4,
    .psci_cpu_on = 0x8400'0003,
    .psci_system_off = 0x8400'0008,
    .psci_system_reset = 0x8400'0009,
    .reset = {},
};

}  // namespace amphion::board
