// SPDX-License-Identifier: Apache-2.0
// The intermediate physical address of a stage 2 abort, from the registers that tell of it (DDI 0406C, B4.1). It has up
// to 40 bits: a guest's own stage 1 may lead anywhere.
// Thread safety: values.
#pragma once

#include <optional>

#include "hyp/types.hpp"

namespace amphion::hyp {

// HPFAR, which holds bits 39:12, and the virtual address of the access.
[[nodiscard]] constexpr u64 ipa_of_hpfar(u32 hpfar, u32 virtual_address) {
  return u64{hpfar & ~0xfu} << 8 | (virtual_address & 0xfff);
}

// PAR after an address translation operation; nothing if that failed. Of the 32-bit format's supersections (16 MiB) it
// holds address bits 31:24 and, in bits 23:16, 39:32.
[[nodiscard]] constexpr std::optional<u64> ipa_of_par(u64 par, u32 virtual_address) {
  constexpr u64 failed = 1u << 0, supersection = 1u << 1, long_format = 1u << 11;
  if ((par & failed) != 0) return std::nullopt;
  if ((par & long_format) != 0) return (par & 0xff'ffff'f000) | (virtual_address & 0xfff);
  if ((par & supersection) == 0) return (par & 0xffff'f000) | (virtual_address & 0xfff);
  return (par & 0xff00'0000) | (par & 0x00ff'0000) << 16 | (virtual_address & 0x00ff'ffff);
}

}  // namespace amphion::hyp
