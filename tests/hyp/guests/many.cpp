// SPDX-License-Identifier: Apache-2.0
// As many instances as there may be, with as many vCPUs, on whatever CPUs there are. Each keeps time, its memory and
// its interrupts to itself, though one resets itself, in one a vCPU crashes for good, and one ends while its vCPUs
// spin.
#include "tests/hyp/runtime/call.hpp"
#include "tests/hyp/runtime/check.hpp"
#include "tests/hyp/runtime/exception.hpp"
#include "tests/hyp/runtime/gic.hpp"
#include "tests/hyp/runtime/lab.hpp"
#include "tests/hyp/runtime/vcpu.hpp"

using namespace amphion::lab;
using namespace amphion;
using hyp::read32, hyp::write32;

namespace {

constexpr u32 others = 3, rounds = 20, ball = 5;
constexpr u32 resets = 3, crashes = 5, leaves = 6;  // which instances
constexpr u32 first_page = 1000, pages = 100;
volatile u32 returned[others + 1];

u32 address_of(u32 page) { return machine::ram_base + page * machine::page_bytes; }

// Takes interrupts of the first vCPU and answers each.
void partner() {
  gic::init();
  interrupts_on();
  for (u32 round = 1; round <= rounds; ++round) {
    while (own().taken[ball] < round) {
      interrupts_off();
      if (own().taken[ball] < round) wait();
      interrupts_on();
    }
    returned[hyp::Mpidr::read() & 3] = round;
  }
  interrupts_off();
}

void spinner() {
  for (;;) {
  }
}

// Vectors and code are where nothing is: aborts without end.
void crash() {
  hyp::Vbar::write(0xf000'0000);
  hyp::isb();
  reinterpret_cast<void (*)()>(0xf000'0100)();
}

void play() {
  for (u32 vcpu = 1; vcpu <= others; ++vcpu) CHECK_EQUAL(start_vcpu(vcpu, partner), psci::success);
  for (u32 round = 1; round <= rounds; ++round) {
    const u64 end = counter() + ticks_of_us(500);
    hyp::CntvCval::write(end);
    hyp::CntvCtl::write(1);
    u32 taken;
    do wait();
    while ((taken = gic::acknowledge()) == gic::none);
    CHECK(counter() >= end);
    hyp::CntvCtl::write(0);
    gic::end(taken);
    for (u32 vcpu = 1; vcpu <= others; ++vcpu) {
      gic::send(ball, 1u << vcpu);
      CHECK(becomes([=] { return returned[vcpu] == round; }));
    }
  }
  for (u32 vcpu = 1; vcpu <= others; ++vcpu) wait_until_off(vcpu);
}

}  // namespace

void guest_main() {
  const u32 self = read32(number), mark = 0xabcd'0000 + self;
  const u32 life = read32(kept);
  write32(kept, life + 1);
  for (u32 page = first_page; page < first_page + pages; ++page) {
    CHECK_EQUAL(read32(address_of(page)), 0);
    write32(address_of(page), mark + page);
  }
  gic::init();
  gic::enable(virtual_timer);
  play();
  u32 changed = 0;
  for (u32 page = first_page; page < first_page + pages; ++page) changed |= read32(address_of(page)) ^ (mark + page);
  CHECK_EQUAL(changed, 0);
  if (self == crashes || self == leaves) {
    for (u32 vcpu = 1; vcpu <= others; ++vcpu) start_vcpu(vcpu, self == crashes ? crash : spinner);
    spin_us(2000);
  }
  if (self == resets && life == 0) call(psci::system_reset);
}
