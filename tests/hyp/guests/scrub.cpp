// SPDX-License-Identifier: Apache-2.0
// Memory comes as zeros and stays one's own. Runs several times, alone and beside another of its kind: pages that one
// instance has filled are given to the next.
#include "tests/hyp/runtime/check.hpp"
#include "tests/hyp/runtime/lab.hpp"

using namespace amphion::lab;
using namespace amphion;

extern "C" hyp::u32 stacks_end;

void guest_main() {
  constexpr u32 pages = 960;  // of the 1024 that an instance may have; the image and the stacks take a few
  auto* const begin = reinterpret_cast<volatile u32*>((reinterpret_cast<u32>(&stacks_end) + 4095) & ~4095u);
  auto* const end = begin + pages * (machine::page_bytes / sizeof(u32));
  const u32 mark = 0xfeed'0000u | hyp::read32(number);
  u32 other = 0;
  for (auto* word = begin; word != end; ++word) {
    other |= *word;
    *word = mark + static_cast<u32>(word - begin);
  }
  CHECK_EQUAL(other, 0);
  u32 changed = 0;
  for (auto* word = begin; word != end; ++word) changed |= *word ^ (mark + static_cast<u32>(word - begin));
  CHECK_EQUAL(changed, 0);
}
