// SPDX-License-Identifier: Apache-2.0
// Scrubbing in idle time; see scrub.hpp. An interrupt waits for a cache line at most; a page that is left half
// done begins again.
#include "hyp/scrub.hpp"

#include "hyp/instance.hpp"
#include "hyp/sysreg.hpp"

namespace amphion::hyp {
namespace {

constexpr u32 step_bytes = 64;

bool interrupt_waits() { return (Isr::read() & 1u << 7) != 0; }

// Zeros in memory, too: an instance may read them with its caches off.
bool scrub(Phys page) {
  for (u32 offset = 0; offset < page_bytes; offset += step_bytes) {
    if (interrupt_waits()) return false;
    auto* words = static_cast<u64*>(pool().memory().at(page + offset));
    for (u32 i = 0; i < step_bytes / sizeof *words; ++i) words[i] = 0;
    clean_invalidate(static_cast<u32>(page.value()) + offset, step_bytes);
  }
  return true;
}

}  // namespace

bool scrub_until_interrupt() {
  while (!interrupt_waits()) {
    const auto page = pool().borrow_dirty();
    if (!page) return false;
    pool().give_back(*page, scrub(*page));
  }
  return true;
}

}  // namespace amphion::hyp
