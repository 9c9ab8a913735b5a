// SPDX-License-Identifier: Apache-2.0
// The state of an instance at its kernel's first instruction (Documentation/arm/booting.rst): everything reset, vCPU 0
// at the kernel with the device tree's address in R2, the others off. Memory is the caller's: kernel, device tree and
// initial file system at the offsets of device_tree.hpp. Thread safety: a pure function. Invariant: the result passes
// validate() if the shape is valid.
#pragma once

#include <cstdint>

#include "machine/network.hpp"
#include "machine/phone.hpp"
#include "machine/state.pb.h"

namespace amphion::machine {

[[nodiscard]] InstanceState cold_state(const Shape& shape, std::uint32_t counter_frequency, std::uint64_t disk_sectors,
                                       const Mac& mac = {2, 0, 0, 0, 0, 1});

}  // namespace amphion::machine
