// SPDX-License-Identifier: Apache-2.0
// No wake-up is lost: timers that are due just before, while and just after a vCPU goes to sleep; interrupts of another
// vCPU at any moment. A lost one shows as silence.
#include "hyp/sysreg.hpp"
#include "tests/hyp/runtime/call.hpp"
#include "tests/hyp/runtime/check.hpp"
#include "tests/hyp/runtime/exception.hpp"
#include "tests/hyp/runtime/gic.hpp"
#include "tests/hyp/runtime/vcpu.hpp"

using namespace amphion::lab;
using namespace amphion;

namespace {

constexpr u32 wake_sgi = 1, stop_sgi = 2;

void arm(u32 delay_ticks) {
  hyp::CntvCval::write(counter() + delay_ticks);
  hyp::CntvCtl::write(1);
  hyp::isb();
}

// Ends with a masked interrupt, too: what waits is acknowledged by hand.
u32 sleep_until_pending() {
  u32 intid;
  do {
    wait();
    intid = gic::acknowledge();
  } while ((intid & gic::intid_mask) == gic::none);
  return intid;
}

void check_timer_races() {
  for (u32 delay = 0; delay < 3000; delay += 7) {
    arm(delay);
    const u64 due = hyp::CntvCval::read();
    const u32 intid = sleep_until_pending();
    CHECK_EQUAL(intid, virtual_timer);
    CHECK(counter() >= due);
    hyp::CntvCtl::write(0);
    gic::end(intid);
  }
}

// Sleeps; each wake-up answers with its number.
volatile u32 asked = 0, answered = 0;
void sleeper() {
  gic::init();
  for (;;) {
    const u32 intid = sleep_until_pending();
    gic::end(intid);
    if ((intid & gic::intid_mask) == stop_sgi) return;
    answered = asked;
  }
}

void check_other_vcpu() {
  CHECK_EQUAL(start_vcpu(1, sleeper), psci::success);
  for (u32 round = 1; round <= 1500; ++round) {
    asked = round;
    gic::send(wake_sgi, 2);
    CHECK(becomes([=] { return answered == round; }));
    for (u32 i = 0; i < round % 400; ++i) __asm__ volatile("nop");  // the sleeper is at another place each time
  }
  gic::send(stop_sgi, 2);
  wait_until_off(1);
}

// A pending one does not let it sleep, a disabled one does not wake it.
void check_edges() {
  arm(0);
  while ((gic::highest_pending() & gic::intid_mask) != virtual_timer) {
  }
  wait();
  CHECK_EQUAL(sleep_until_pending(), virtual_timer);
  hyp::CntvCtl::write(0);
  gic::end(virtual_timer);

  gic::set_bit(gic::ispendr, 70);
  gic::disable(70);
  const u64 due = counter() + ticks_of_us(2000);
  hyp::CntvCval::write(due);
  hyp::CntvCtl::write(1);
  CHECK_EQUAL(sleep_until_pending(), virtual_timer);
  CHECK(counter() >= due);
  hyp::CntvCtl::write(0);
  gic::end(virtual_timer);
}

// WFE ends with an event, its own or that of another vCPU.
void check_wfe() {
  __asm__ volatile("sev\n wfe" ::: "memory");  // the event is there: no waiting
  answered = 0;
  CHECK_EQUAL(start_vcpu(1,
                         [] {
                           spin_us(1000);
                           answered = 1;
                           __asm__ volatile("dsb\n sev" ::: "memory");
                         }),
              psci::success);
  while (answered == 0) __asm__ volatile("wfe" ::: "memory");
  wait_until_off(1);
  CHECK_EQUAL(answered, 1);
}

}  // namespace

void guest_main() {
  gic::init();
  gic::enable(virtual_timer);
  check_edges();
  check_timer_races();
  check_other_vcpu();
  check_wfe();
  CHECK_EQUAL(own().taken[virtual_timer], 0);
}
