// SPDX-License-Identifier: Apache-2.0
// Cache, TLB and barrier operations as kernels use them: they go through or are emulated, nothing faults, no data is
// lost, whatever address they name.
#include "hyp/sysreg.hpp"
#include "tests/hyp/runtime/check.hpp"
#include "tests/hyp/runtime/exception.hpp"

using namespace amphion::lab;
using namespace amphion;

namespace {

u32 data[4096];

#define OPERATION(words, value) __asm__ volatile("mcr p15, 0, %0, " words ::"r"(value) : "memory")

void fill() {
  for (u32 i = 0; i < 4096; ++i) data[i] = i * 0x9e37'79b9u;
  __asm__ volatile("" ::: "memory");
}
void check_data() {
  u32 wrong = 0;
  for (u32 i = 0; i < 4096; ++i) wrong |= const_cast<volatile u32&>(data[i]) ^ i * 0x9e37'79b9u;
  CHECK_EQUAL(wrong, 0);
}

// Invalidation by set and way: without SWIO it would lose what was written.
void all_sets_and_ways() {
  hyp::Csselr::write(0);
  hyp::isb();
  u32 size;
  __asm__ volatile("mrc p15, 1, %0, c0, c0, 0" : "=r"(size));  // CCSIDR
  const u32 line_shift = (size & 7) + 4, ways = size >> 3 & 0x3ff, sets = size >> 13 & 0x7fff;
  const u32 way_shift = static_cast<u32>(__builtin_clz(ways));
  for (u32 way = 0; way <= ways; ++way) {
    for (u32 set = 0; set <= sets; ++set) {
      const u32 value = way << way_shift | set << line_shift;
      OPERATION("c7, c6, 2", value);   // DCISW
      OPERATION("c7, c10, 2", value);  // DCCSW
      OPERATION("c7, c14, 2", value);  // DCCISW
    }
  }
  hyp::dsb();
}

void by_address(u32 address) {
  OPERATION("c7, c10, 1", address);           // DCCMVAC
  OPERATION("c7, c11, 1", address);           // DCCMVAU
  OPERATION("c7, c14, 1", address);           // DCCIMVAC
  OPERATION("c7, c5, 1", address);            // ICIMVAU
  OPERATION("c8, c7, 1", address & ~0xfffu);  // TLBIMVA
}

void everything() {
  OPERATION("c7, c5, 0", 0);  // ICIALLU
  OPERATION("c7, c1, 0", 0);  // ICIALLUIS
  OPERATION("c7, c5, 6", 0);  // BPIALL
  OPERATION("c8, c7, 0", 0);  // TLBIALL
  OPERATION("c8, c3, 0", 0);  // TLBIALLIS
  hyp::dsb();
  hyp::isb();
}

// The guest's own translation is its own: PAR tells the address that it knows.
void check_translation() {
  hyp::Ats1cpr::write(reinterpret_cast<u32>(&data));
  hyp::isb();
  CHECK_EQUAL(hyp::Par::read() & 0xff'ffff'f001, reinterpret_cast<u32>(&data) & ~0xfffu);
}

}  // namespace

void guest_main() {
  fill();
  const Fault fault = fault_of([] {
    all_sets_and_ways();
    for (const u32 address : {reinterpret_cast<u32>(&data), machine::pl011.base, machine::gicd.base, 0u, 0x8000'0000u,
                              machine::ram_base + 3000 * machine::page_bytes}) {
      by_address(address);
    }
    everything();
  });
  CHECK_EQUAL(fault.count, 0);
  check_data();
  check_translation();
}
