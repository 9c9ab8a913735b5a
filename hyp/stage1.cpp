// SPDX-License-Identifier: Apache-2.0
// The hypervisor's own translations (stage 1), a constant that start.S loads: an identity map in 1 GiB blocks (DDI
// 0406C, B3.6). Devices below RAM, memory where the board may have RAM, and nothing elsewhere, so that nothing can be
// fetched there ahead of time.
#include <array>

#include "hyp/this_board.hpp"
#include "hyp/types.hpp"

namespace amphion::hyp {
namespace {

constexpr const Board& b = board::board;
constexpr u64 gib = u64{1} << 30;
static_assert(b.ram_base % gib == 0 && b.ram_max_bytes % gib == 0);

constexpr u64 entry(u64 base) {
  constexpr u64 block = 1u << 10 | 1u << 6 | 1u << 0;  // AF, AP[1]
  constexpr u64 normal_memory = 3u << 8 | 1u << 2;     // inner shareable; attribute 1 of start.S, of devices 0
  constexpr u64 execute_never = u64{1} << 54;
  if (base < b.ram_base) return base | block | execute_never;
  return base - b.ram_base < b.ram_max_bytes ? base | block | normal_memory : 0;
}

}  // namespace

extern "C" {
extern const std::array<u64, 4> hyp_table;
alignas(32) constinit const std::array<u64, 4> hyp_table{entry(0), entry(gib), entry(2 * gib), entry(3 * gib)};
}

}  // namespace amphion::hyp
