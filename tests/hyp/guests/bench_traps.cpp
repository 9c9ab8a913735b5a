// SPDX-License-Identifier: Apache-2.0
// What a trap costs: counter ticks of many of each, for tests/bench/hyp.py.
#include "tests/hyp/runtime/bench.hpp"
#include "tests/hyp/runtime/call.hpp"
#include "tests/hyp/runtime/exception.hpp"
#include "tests/hyp/runtime/gic.hpp"
#include "tests/hyp/runtime/lab.hpp"

using namespace amphion::lab;
using namespace amphion;

namespace {

constexpr u32 queue_notify = machine::virtio.base + 0x50, uart_flags = machine::pl011.base + 0x18;

void measure_devices() {
  measure("uart_read", [] { static_cast<void>(hyp::read32(uart_flags)); });
  measure("doorbell_heard", [] { hyp::write32(queue_notify, 0); });
  hyp::write32(deaf, 1);
  measure("doorbell", [] { hyp::write32(queue_notify, 0); });
  hyp::write32(deaf, 0);
}

}  // namespace

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
  measure_devices();
}
