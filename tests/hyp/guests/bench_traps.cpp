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

constexpr u32 queue_notify = machine::virtio.base + 0x50, interrupt_ack = machine::virtio.base + 0x64,
              uart_flags = machine::pl011.base + 0x18;

u64 handled_at;

void measure_devices() {
  measure("uart_read", [] { static_cast<void>(hyp::read32(uart_flags)); });
  measure("doorbell_heard", [] { hyp::write32(queue_notify, 0); });
  hyp::write32(deaf, 1);
  measure("doorbell", [] { hyp::write32(queue_notify, 0); });
  hyp::write32(deaf, 0);
}

// A level, raised by the host while it answers an access that does nothing else: what comes on top of the same access
// without it (measured, too) is the interrupt's. Up to the handler, and with its acknowledgement and its end.
void measure_interrupts() {
  own().hook = [](u32) {
    handled_at = counter();
    hyp::write32(interrupt_ack, 1);
  };
  gic::set_targets(machine::virtio_irq, 1);
  gic::enable(machine::virtio_irq);
  const auto interrupted = [] {
    const u32 before = own().taken[machine::virtio_irq];
    hyp::write32(status, 1);
    while (own().taken[machine::virtio_irq] == before) {
    }
  };
  measure("access", [] { hyp::write32(kept, 0); });
  measure("access_and_irq", interrupted);
  measure_until("access_until_done", [] {
    hyp::write32(kept, 0);
    return counter();
  });
  measure_until("access_until_irq", [=] {
    interrupted();
    return handled_at;
  });
  own().hook = nullptr;
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
  measure_interrupts();
  measure_devices();
}
