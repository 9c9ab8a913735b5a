// SPDX-License-Identifier: Apache-2.0
// Puts what a cold start needs into an instance's memory: kernel, device tree, initial file system
// (machine/device_tree.hpp says where).
// Thread safety: none.
#pragma once

#include <cstdint>
#include <string>

#include "machine/phone.hpp"
#include "phone-side/instance/hypervisor.hpp"
#include "phone-side/instance/mapped_memory.hpp"

namespace amphion::instance {

// Descriptors stay the caller's, and stay open: a guest that resets itself is loaded again.
struct BootFiles {
  int kernel = -1;      // a zImage
  int initrd = -1;      // -1: none
  std::string cmdline;  // the kernel's
};

[[nodiscard]] Problem load(const BootFiles& files, const machine::Shape& shape, std::uint32_t counter_frequency,
                           MappedMemory& memory);

// The registers of vCPU 0 at the kernel's first instruction (Documentation/arm/booting.rst), over the reset state.
[[nodiscard]] amphion_vcpu entry_state(const amphion_vcpu& reset);

}  // namespace amphion::instance
