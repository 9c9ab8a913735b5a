// SPDX-License-Identifier: Apache-2.0
// What costs no exit: exceptions that stay in the instance, and the end of an interrupt to oneself or of a timer. Exits
// are counted by the host, whose counting is one itself; a few others come from the board's own interrupts.
#include "tests/hyp/runtime/check.hpp"
#include "tests/hyp/runtime/exception.hpp"
#include "tests/hyp/runtime/gic.hpp"
#include "tests/hyp/runtime/lab.hpp"
#include "tests/hyp/runtime/vcpu.hpp"

using namespace amphion::lab;
using namespace amphion;
using hyp::read32;

namespace {

constexpr u32 some = 100, times = 1000, sgi = 5;

template <typename Action>
u32 exits_of(Action action) {
  const u32 before = read32(exits);
  for (u32 i = 0; i < times; ++i) action(i);
  return read32(exits) - before;
}

void check_own_exceptions() {
  CHECK(exits_of([](u32) { static_cast<void>(undefined([] { __asm__ volatile("udf #0"); })); }) < some);
}

void check_own_sgi() {
  const u32 left = exits_of([](u32 i) {
    gic::send_filtered(sgi, gic::sgi_self);
    while (own().taken[sgi] != i + 1) {
    }
  });
  CHECK(left >= times);  // sending is one
  CHECK(left < times + some);
}

void check_timer() {
  own().hook = [](u32 acknowledged) {
    if ((acknowledged & gic::intid_mask) == virtual_timer) hyp::CntvCtl::write(0);
  };
  gic::enable(virtual_timer);
  const u32 left = exits_of([](u32 i) {
    hyp::CntvCval::write(counter() + ticks_of_us(10));
    hyp::CntvCtl::write(1);
    while (own().taken[virtual_timer] != i + 1) {
    }
  });
  CHECK(left >= times);  // the interrupt is physical, and comes to the hypervisor first
  CHECK(left < times + some);
}

}  // namespace

void guest_main() {
  gic::init();
  interrupts_on();
  check_own_exceptions();
  check_own_sgi();
  check_timer();
}
