// SPDX-License-Identifier: Apache-2.0
// Bits of pages and blocks: bit n % 32 of word n / 32 is number n (link::Bitmap). The caller stays inside.
#pragma once

#include <cstdint>

#include "link/handover_source.hpp"

namespace amphion::phoned {

[[nodiscard]] constexpr std::size_t bitmap_words(std::uint64_t bits) {
  return static_cast<std::size_t>((bits + 31) / 32);
}

[[nodiscard]] inline bool bit(const link::Bitmap& map, std::uint64_t n) {
  return ((map[static_cast<std::size_t>(n / 32)] >> (n % 32)) & 1u) != 0;
}

inline void set_bits(link::Bitmap& map, std::uint64_t first, std::uint64_t count, bool value) {
  for (std::uint64_t n = first; n < first + count; ++n) {
    const std::uint32_t mask = 1u << (n % 32);
    std::uint32_t& word = map[static_cast<std::size_t>(n / 32)];
    word = value ? word | mask : word & ~mask;
  }
}

}  // namespace amphion::phoned
