// SPDX-License-Identifier: Apache-2.0
// Interrupt lines of devices: levels stay, edges are latched, a line that is off waits, one that moves is taken by the
// other vCPU.
#include "tests/hyp/runtime/call.hpp"
#include "tests/hyp/runtime/check.hpp"
#include "tests/hyp/runtime/exception.hpp"
#include "tests/hyp/runtime/gic.hpp"
#include "tests/hyp/runtime/lab.hpp"
#include "tests/hyp/runtime/vcpu.hpp"

using namespace amphion::lab;
using namespace amphion;

namespace {

constexpr u32 level = 60, edge = 61, software = 62, moving = 63, stop = 15;

void set(u32 intid, bool high) { hyp::write32(high ? raise : lower, intid); }
void pulse(u32 intid) { set(intid, true), set(intid, false); }
bool taken(u32 intid, u32 count) {
  return becomes([=] { return own().taken[intid] >= count; });
}

// As long as it is high it comes again; then never.
void check_level() {
  own().hook = [](u32) {
    if (own().taken[level] == 3) set(level, false);
  };
  gic::enable(level);
  set(level, true);
  CHECK(taken(level, 3));
  spin_us(300);
  CHECK_EQUAL(own().taken[level], 3);
  CHECK(!gic::bit(gic::ispendr, level));
  gic::disable(level);
  set(level, true);
  spin_us(300);
  CHECK_EQUAL(own().taken[level], 3);
  CHECK(gic::bit(gic::ispendr, level));
  set(level, false);
  gic::enable(level);
  spin_us(300);
  CHECK_EQUAL(own().taken[level], 3);  // gone before anybody looked
}

void check_edge() {
  own().hook = nullptr;
  gic::set_edge(edge, true);
  gic::enable(edge);
  pulse(edge);
  CHECK(taken(edge, 1));
  gic::disable(edge);
  pulse(edge);
  pulse(edge);
  CHECK(gic::bit(gic::ispendr, edge));
  gic::enable(edge);
  CHECK(taken(edge, 2));
  spin_us(300);
  CHECK_EQUAL(own().taken[edge], 2);
  gic::disable(edge);
  pulse(edge);
  gic::set_bit(gic::icpendr, edge);
  gic::enable(edge);
  spin_us(300);
  CHECK_EQUAL(own().taken[edge], 2);
}

void check_software() {
  gic::set_bit(gic::ispendr, software);
  CHECK(gic::bit(gic::ispendr, software));
  gic::enable(software);
  CHECK(taken(software, 1));
  own().hook = [](u32) { CHECK(gic::bit(gic::isactiver, software)); };
  gic::set_bit(gic::ispendr, software);
  CHECK(taken(software, 2));
  CHECK(!gic::bit(gic::isactiver, software));
  own().hook = nullptr;
  gic::set_bit(gic::isactiver, software);  // an active one does not come
  gic::set_bit(gic::ispendr, software);
  spin_us(300);
  CHECK_EQUAL(own().taken[software], 2);
  gic::set_bit(gic::icactiver, software);
  CHECK(taken(software, 3));
}

volatile u32 lowered[2];  // by each vCPU

void take_moving(u32 acknowledged) {
  if ((acknowledged & gic::intid_mask) != moving) return;
  set(moving, false);
  lowered[vcpu_number()] = lowered[vcpu_number()] + 1;
}

void second() {
  gic::init();
  own().hook = take_moving;
  interrupts_on();
  while (own().taken[stop] == 0) {
  }
  interrupts_off();
}

void check_targets() {
  own().hook = take_moving;
  CHECK_EQUAL(start_vcpu(1, second), psci::success);
  gic::enable(moving);
  for (u32 round = 1; round <= 20; ++round) {
    for (const u32 vcpu : {0u, 1u}) {
      gic::set_targets(moving, 1u << vcpu);
      set(moving, true);
      CHECK(becomes([=] { return lowered[vcpu] == round; }));
    }
  }
  for (const u32 vcpu : {0u, 1u}) CHECK_EQUAL(state_of(vcpu).taken[moving], 20);
  gic::send(stop, 2);
  wait_until_off(1);
}

}  // namespace

void guest_main() {
  gic::init();
  for (const u32 intid : {level, edge, software, moving}) gic::set_targets(intid, 1);
  interrupts_on();
  check_level();
  check_edge();
  check_software();
  check_targets();
}
