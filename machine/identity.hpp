// SPDX-License-Identifier: Apache-2.0
// What the phone machine's processor says of itself: QEMU's cortex-a7. Used by the hypervisor.
// Freestanding: constants only.
#pragma once

#include <cstdint>

namespace amphion::machine {

inline constexpr std::uint32_t midr = 0x410f'c075;  // r0p5

}  // namespace amphion::machine
