// SPDX-License-Identifier: Apache-2.0
// What a trap costs: counter ticks of many of each, for tests/bench/hyp.py. Runs on the bare machine as well, where an
// interrupt to oneself costs what it costs without a hypervisor.
#include "tests/hyp/runtime/bench.hpp"
#include "tests/hyp/runtime/call.hpp"
#include "tests/hyp/runtime/exception.hpp"
#include "tests/hyp/runtime/gic.hpp"

using namespace amphion::lab;

void guest_main() {
  gic::init();
  interrupts_on();
  measure("null_hypercall", [] { call(psci::version); });
  measure("gicd_read", [] { static_cast<void>(gic::read32(gic::typer)); });
  measure("self_ipi", [] {
    const u32 before = own().taken[1];
    gic::send_filtered(1, gic::sgi_self);
    while (own().taken[1] == before) {
    }
  });
}
