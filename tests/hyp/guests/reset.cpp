// SPDX-License-Identifier: Apache-2.0
// PSCI SYSTEM_RESET: the instance begins anew, and nothing of its memory is left. The other vCPU is busy meanwhile.
#include "tests/hyp/runtime/call.hpp"
#include "tests/hyp/runtime/check.hpp"
#include "tests/hyp/runtime/lab.hpp"
#include "tests/hyp/runtime/vcpu.hpp"

using namespace amphion::lab;
using namespace amphion;

void guest_main() {
  constexpr u32 mark = machine::ram_base + 2000 * machine::page_bytes;
  const u32 life = hyp::read32(kept);
  CHECK_EQUAL(hyp::read32(mark), 0);
  CHECK_EQUAL(call(psci::affinity_info, 1).value, psci::is_off);
  if (life == 3) return;
  hyp::write32(kept, life + 1);
  hyp::write32(mark, 0x600d'600d);
  CHECK_EQUAL(start_vcpu(1,
                         [] {
                           for (;;) {
                           }
                         }),
              psci::success);
  spin_us(500);
  call(psci::system_reset);
  FAIL("SYSTEM_RESET came back");
}
