// SPDX-License-Identifier: Apache-2.0
// What the hypervisor finishes of virtio-mmio: registers are read without an exit and cannot be written, a notification
// rings once until the host has looked, an acknowledgement lowers the line. The host shows pattern(offset) everywhere.
#include "tests/hyp/runtime/check.hpp"
#include "tests/hyp/runtime/exception.hpp"
#include "tests/hyp/runtime/gic.hpp"
#include "tests/hyp/runtime/lab.hpp"
#include "tests/hyp/runtime/vcpu.hpp"

using namespace amphion::lab;
using namespace amphion;
using hyp::read32;
using hyp::write32;

namespace {

constexpr u32 queue_notify = 0x50, interrupt_status = 0x60, interrupt_ack = 0x64;
constexpr u32 slot0 = machine::virtio.base, slot0_irq = machine::virtio_irq;
constexpr u32 page_end = machine::virtio.base + machine::page_bytes;

void check_reads() {
  const u32 before = read32(exits);
  for (u32 address = slot0; address < page_end; address += 4) {
    const bool is_status = address % machine::virtio_slot_bytes == interrupt_status;
    CHECK_EQUAL(read32(address), is_status ? 0 : pattern(address - slot0));
  }
  CHECK_EQUAL(hyp::read8(slot0 + 0x101), pattern(0x100) >> 8 & 0xff);
  CHECK(read32(exits) - before < 100);  // of 1,024 reads: interrupts may have come
}

// A write that is not finished in the hypervisor goes to the host, and changes nothing by itself.
void check_writes() {
  for (const u32 offset : {0x00u, 0x70u, 0x100u, 0x1fcu}) {
    write32(slot0 + offset, ~0u);
    CHECK_EQUAL(read32(slot0 + offset), pattern(offset));
  }
  hyp::write8(slot0 + queue_notify, 1);
  CHECK_EQUAL(read32(doorbell), 0);
}

void check_doorbells() {
  write32(slot0 + queue_notify, 32);  // no such bit
  CHECK_EQUAL(read32(doorbell), 0);
  write32(slot0 + queue_notify, 3);
  CHECK(becomes([] { return read32(doorbell) == 1u << 3; }));
  const u32 rings = read32(ring_count);
  for (u32 i = 0; i < 100; ++i) write32(slot0 + queue_notify, i % 32);
  CHECK(becomes([] { return read32(doorbell) == ~0u; }));
  CHECK(read32(ring_count) > rings);
}

void check_acknowledgement() {
  own().hook = [](u32) {
    CHECK_EQUAL(read32(slot0 + interrupt_status), 3);
    write32(slot0 + interrupt_ack, 1);
    CHECK_EQUAL(read32(slot0 + interrupt_status), 2);
    CHECK(gic::bit(gic::ispendr, slot0_irq));  // a level, and still high
    write32(slot0 + interrupt_ack, ~0u);
    CHECK_EQUAL(read32(slot0 + interrupt_status), 0);
  };
  gic::set_targets(slot0_irq, 1);
  gic::enable(slot0_irq);
  for (u32 round = 1; round <= 10; ++round) {
    write32(status, 3);
    CHECK(becomes([=] { return own().taken[slot0_irq] == round; }));
  }
  spin_us(300);
  CHECK_EQUAL(own().taken[slot0_irq], 10);
  gic::disable(slot0_irq);
  write32(status, 1);
  CHECK_EQUAL(read32(slot0 + interrupt_status), 1);
  write32(status, 0x0102);  // the host clears and sets in one step
  CHECK_EQUAL(read32(slot0 + interrupt_status), 2);
  write32(status, 0xff00);
  CHECK_EQUAL(read32(slot0 + interrupt_status), 0);
  gic::enable(slot0_irq);
  spin_us(300);
  CHECK_EQUAL(own().taken[slot0_irq], 10);
}

}  // namespace

void guest_main() {
  gic::init();
  interrupts_on();
  check_reads();
  check_writes();
  check_doorbells();
  check_acknowledgement();
}
