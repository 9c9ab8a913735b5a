// SPDX-License-Identifier: Apache-2.0
// Short names of the integers that registers are made of, and access to device registers.
#pragma once

#include <cstddef>
#include <cstdint>

namespace amphion::hyp {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

[[nodiscard]] inline u32 read32(u32 address) { return *reinterpret_cast<volatile u32*>(std::uintptr_t{address}); }
inline void write32(u32 address, u32 value) { *reinterpret_cast<volatile u32*>(std::uintptr_t{address}) = value; }
[[nodiscard]] inline u8 read8(u32 address) { return *reinterpret_cast<volatile u8*>(std::uintptr_t{address}); }
inline void write8(u32 address, u8 value) { *reinterpret_cast<volatile u8*>(std::uintptr_t{address}) = value; }

}  // namespace amphion::hyp
