// SPDX-License-Identifier: Apache-2.0
// The device tree of the phone machine, made by libfdt when an instance is first started (phone-side/instance; tests
// start QEMU with it too, so that a guest sees the same tree on both sides). Thread safety: a pure function. Invariant:
// addresses and interrupts come from phone.hpp alone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "machine/phone.hpp"

namespace amphion::machine {

struct DeviceTreeInput {
  Shape shape;                      // the largest shape; must be valid()
  std::uint32_t counter_frequency;  // Hz
  std::string cmdline;              // the kernel's; "console=" words are the caller's
  std::uint32_t initrd_start = 0;   // physical; start == end: none
  std::uint32_t initrd_end = 0;
  std::vector<std::uint8_t> rng_seed{};  // fresh random bytes for the kernel; may be empty
};

// The flattened tree. Empty if the shape is not valid, the initrd does not lie inside memory below the screen, or the
// command line is longer than 2047 bytes (32-bit ARM's COMMAND_LINE_SIZE is 1024, the rest is the kernel's to cut).
[[nodiscard]] std::vector<std::uint8_t> make_device_tree(const DeviceTreeInput& input);

// Where the phone's loader and the tests put things in a fresh instance's memory, as offsets from ram_base.
inline constexpr std::uint32_t kernel_offset = 0x0100'0000;       // zImage, 16 MiB
inline constexpr std::uint32_t device_tree_offset = 0x0200'0000;  // 32 MiB
inline constexpr std::uint32_t initrd_offset = 0x0210'0000;       // 33 MiB

}  // namespace amphion::machine
