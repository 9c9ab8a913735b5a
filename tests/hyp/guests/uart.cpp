// SPDX-License-Identifier: Apache-2.0
// The PL011 in the hypervisor: what is sent arrives in order however much it is, what the host gives comes through the
// receive FIFO, and few of the accesses reach the host.
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

constexpr u32 dr = machine::pl011.base, fr = dr + 0x18, lcr_h = dr + 0x2c, imsc = dr + 0x38, mis = dr + 0x40,
              icr = dr + 0x44;
constexpr u32 rx = 1u << 4, tx = 1u << 5, rx_empty = 1u << 4, tx_full = 1u << 5;

void check_receiving() {
  constexpr u32 gifts = 100;
  static volatile u32 received = 0;
  write32(lcr_h, 1u << 4);
  own().hook = [](u32) {
    CHECK_EQUAL(read32(mis), rx);
    while ((read32(fr) & rx_empty) == 0) {
      CHECK_EQUAL(read32(dr), static_cast<u32>(gift));
      received = received + 1;
    }
  };
  gic::set_targets(machine::pl011_irq, 1);
  gic::enable(machine::pl011_irq);
  write32(imsc, rx);
  write32(type, gifts);
  CHECK(becomes([] { return received == gifts; }));
  write32(imsc, 0);
}

// The transmit interrupt comes when there is room, and many bytes trouble the host once.
void check_sending() {
  constexpr u32 bytes = 5000;
  static volatile u32 sent = 0;
  own().hook = [](u32) {
    CHECK_EQUAL(read32(mis), tx);
    write32(icr, tx);
    while ((read32(fr) & tx_full) == 0 && sent < bytes) {
      sent = sent + 1;
      write32(dr, sent % 100 == 0 ? '\n' : '.');
    }
    if (sent == bytes) write32(imsc, 0);
  };
  const u32 rings = read32(ring_count);
  write32(dr, '!');
  write32(imsc, tx);
  CHECK(becomes([] { return sent == bytes; }));
  CHECK(read32(ring_count) - rings < 100);
}

}  // namespace

void guest_main() {
  gic::init();
  interrupts_on();
  check_receiving();
  check_sending();
}
