// SPDX-License-Identifier: Apache-2.0
// Beside hostile instances (host/fuzz.cpp), until the host says that it is enough: memory, every register, interrupts
// between two vCPUs and the timer are as if nobody else were there.
#include "tests/hyp/runtime/call.hpp"
#include "tests/hyp/runtime/check.hpp"
#include "tests/hyp/runtime/exception.hpp"
#include "tests/hyp/runtime/gic.hpp"
#include "tests/hyp/runtime/lab.hpp"
#include "tests/hyp/runtime/registers.hpp"
#include "tests/hyp/runtime/vcpu.hpp"

using namespace amphion::lab;
using namespace amphion;
using hyp::read32, hyp::write32;

namespace {

constexpr u32 first_page = 500, pages = 64, ball = 5;
volatile bool over = false;
volatile u32 ready = 0, returned = 0;  // rounds of the ball

u32 address_of(u32 page) { return machine::ram_base + page * machine::page_bytes; }
u32 mark_of(u32 page, u32 round) { return (round << 16 ^ page) * 0x0101'0101u; }

void write_memory(u32 round) {
  for (u32 page = first_page; page < first_page + pages; ++page) write32(address_of(page), mark_of(page, round));
}
void check_memory(u32 round) {
  for (u32 page = first_page; page < first_page + pages; ++page) {
    CHECK_EQUAL(read32(address_of(page)), mark_of(page, round));
  }
}

void hold_registers(u32 round) { check_registers_held((vcpu_number() << 16 | round) + 1, echo.base, 20 + round % 200); }

// Returns each ball; what an interrupt would disturb is done before it says that it is ready for one.
void partner() {
  gic::init();
  gic::enable(virtual_timer);
  for (u32 round = 1;; ++round) {
    hold_registers(round);
    ready = round;
    u32 taken;
    while ((taken = gic::acknowledge()) == gic::none) {
      if (over) return;
    }
    CHECK_EQUAL(taken, ball);
    gic::end(taken);
    returned = round;
  }
}

}  // namespace

void guest_main() {
  CHECK_EQUAL(read32(address_of(first_page)), 0);
  gic::init();
  gic::enable(virtual_timer);
  CHECK_EQUAL(start_vcpu(1, partner), psci::success);
  u32 round = 0;
  while (read32(enough) == 0) {
    ++round;
    write_memory(round);
    hold_registers(round);
    CHECK(becomes([round] { return ready == round; }));
    gic::send(ball, 2);
    CHECK(becomes([round] { return returned == round; }));
    check_memory(round);
  }
  over = true;
  wait_until_off(1);
}
