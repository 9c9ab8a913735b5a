// SPDX-License-Identifier: Apache-2.0
// Two instances with two vCPUs each: every register keeps its value while the others run on the same CPU.
#include "tests/hyp/runtime/call.hpp"
#include "tests/hyp/runtime/check.hpp"
#include "tests/hyp/runtime/exception.hpp"
#include "tests/hyp/runtime/gic.hpp"
#include "tests/hyp/runtime/lab.hpp"
#include "tests/hyp/runtime/registers.hpp"
#include "tests/hyp/runtime/vcpu.hpp"

using namespace amphion::lab;
using namespace amphion;

namespace {

void hold_registers() {
  gic::init();
  gic::enable(virtual_timer);
  const u32 who = (hyp::read32(number) << 1 | vcpu_number()) << 16;
  for (u32 round = 0; round < 150; ++round) check_registers_held(who + round, echo.base, 20 + round * 3);
}

}  // namespace

void guest_main() {
  CHECK_EQUAL(start_vcpu(1, hold_registers), psci::success);
  hold_registers();
  wait_until_off(1);
}
