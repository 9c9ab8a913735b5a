// SPDX-License-Identifier: Apache-2.0
// An instance that is stopped, read out, ended, and goes on in a new one: registers, timers, memory and interrupts are
// as they were, its counter stood still, and the sleeping vCPU can be woken.
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

constexpr u32 wake = 9, waiting_sgi = 10, waiting_line = 80;

void sleeper() {
  gic::init();
  interrupts_on();
  while (own().taken[wake] == 0) {
    interrupts_off();
    if (own().taken[wake] == 0) wait();
    interrupts_on();
  }
  interrupts_off();
}

// Pending while everything is stopped: an SGI and a device's line. Neither is lost nor doubled.
void check_interrupts_survive() {
  gic::send(waiting_sgi, 1);
  hyp::write32(raise, waiting_line);
  // The board's ticks are read before and after the guest's: however long an access takes, it is not the guest's time.
  const u32 board_before = hyp::read32(board_ticks);
  const u64 before = counter();
  hyp::write32(pause, 0);
  CHECK(becomes([=] {  // the host takes 2 ms
    const u64 passed = counter() - before;
    return hyp::read32(board_ticks) - board_before > passed + ticks_of_us(1500);
  }));
  CHECK_EQUAL(hyp::read8(gic::ipriorityr + waiting_line), 0x48);
  CHECK(gic::bit(gic::isenabler, waiting_line));
  own().hook = [](u32 acknowledged) {
    if ((acknowledged & gic::intid_mask) == waiting_line) hyp::write32(lower, waiting_line);
  };
  interrupts_on();
  CHECK(becomes([] { return own().taken[waiting_sgi] + own().taken[waiting_line] == 2; }));
  spin_us(200);
  interrupts_off();
  CHECK_EQUAL(own().taken[waiting_sgi], 1);
  CHECK_EQUAL(own().taken[waiting_line], 1);
}

}  // namespace

void guest_main() {
  gic::init();
  gic::enable(virtual_timer);
  CHECK_EQUAL(start_vcpu(1, sleeper), psci::success);
  for (u32 round = 0; round < 5; ++round) check_registers_held(round, pause, 4000);
  gic::disable(virtual_timer);
  gic::set_priority(waiting_line, 0x48);
  gic::set_targets(waiting_line, 1);
  gic::enable(waiting_line);
  check_interrupts_survive();
  CHECK_EQUAL(call(psci::affinity_info, 1).value, psci::is_on);
  gic::send(wake, 2);
  wait_until_off(1);
}
