// SPDX-License-Identifier: Apache-2.0
// What only the host may call is denied to everybody else, with any argument; what nobody knows is not supported; other
// immediates of HVC mean nothing. A failed call changes no register but r0.
#include "hyp/abi/amphion_hypercall.h"
#include "tests/hyp/runtime/call.hpp"
#include "tests/hyp/runtime/check.hpp"
#include "tests/hyp/runtime/exception.hpp"

using namespace amphion::lab;
using namespace amphion;

namespace {

void check_denied() {
  for (u32 function = AMPHION_HC_INFO; function < AMPHION_HC_END; ++function) {
    if (function == AMPHION_HC_YIELD) continue;
    for (const u32 argument : {0u, 1u, 2u, 8u, 9u, machine::ram_base, 0x4800'0000u, ~0u}) {
      const Answer answer = call(function, argument, argument, argument);
      CHECK_EQUAL(answer.value, static_cast<u32>(AMPHION_EDENIED));
      CHECK_EQUAL(answer.second, argument);
    }
  }
}

void check_allowed() {
  for (u32 i = 0; i < 100; ++i) CHECK_EQUAL(call(AMPHION_HC_YIELD, ~0u, ~0u, ~0u).value, 0);  // nobody else is there
}

void check_unknown() {
  for (const u32 function : {AMPHION_HC(0x40), AMPHION_HC(0xffff), 0u, 1u, 0x8000'0000u, 0x8400'0005u, 0x8400'0007u,
                             0xc400'0003u, 0xc600'0000u, 0x8700'0000u, ~0u}) {
    CHECK_EQUAL(call(function, 1, 2, 3).value, psci::not_supported);
  }
}

void check_immediates() {
  register u32 r0 __asm__("r0") = psci::version;
  __asm__ volatile(".arch_extension virt\n hvc #1" : "+r"(r0));
  CHECK_EQUAL(r0, psci::not_supported);
  register u32 again __asm__("r0") = AMPHION_HC_STATS;
  __asm__ volatile(".arch_extension virt\n hvc #0xffff" : "+r"(again));
  CHECK_EQUAL(again, psci::not_supported);
}

}  // namespace

void guest_main() {
  check_denied();
  check_allowed();
  check_unknown();
  check_immediates();
}
