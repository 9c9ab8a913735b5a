// SPDX-License-Identifier: Apache-2.0
// The host instance's device tree: QEMU's own dump of the board, finished for a host that runs under the hypervisor.
// Called by make_bundle. Thread safety: pure functions.
// Invariants: the result names no memory but the host's, nothing of the GIC's virtualization, and no random seeds
// (a bundle is used many times).
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
  std::string bootargs;
};

// Throws std::runtime_error with a one-line text when the tree is no board's tree.
[[nodiscard]] std::vector<std::uint8_t> finish_host_tree(const std::vector<std::uint8_t>& board_tree,
                                                         const HostTreePlan& plan);

}  // namespace amphion::emulator
