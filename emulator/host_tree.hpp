// SPDX-License-Identifier: Apache-2.0
// The host instance's device tree: the board's own (QEMU's dump, or the kernel's for a real board), finished for a host
// that runs under the hypervisor.
// Called by make_bundle. Thread safety: pure functions.
// Invariants: the result names no memory but the host's, nothing of the GIC's virtualization, no CPU frequencies (the
// host does not know what the instances need), and no random seeds (a bundle is used many times).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace amphion::emulator {

struct HostTreePlan {
  std::uint32_t memory_base;
  std::uint32_t memory_bytes;
  std::uint32_t initrd_base;
  std::uint32_t initrd_bytes;  // 0: none
  std::uint32_t event_spi;     // the hypervisor's interrupt to the host, as an SPI number
  bool firmware_power;         // the firmware switches the board off and resets it; else the host's drivers do
  std::string bootargs;
};

// Throws std::runtime_error with a one-line text when the tree is no board's tree.
[[nodiscard]] std::vector<std::uint8_t> finish_host_tree(const std::vector<std::uint8_t>& board_tree,
                                                         const HostTreePlan& plan);

}  // namespace amphion::emulator
