// SPDX-License-Identifier: Apache-2.0
// Priorities: the mask, the order of many at once (more than there are list registers), preemption, and groups of
// priority by the binary point.
#include "tests/hyp/runtime/check.hpp"
#include "tests/hyp/runtime/exception.hpp"
#include "tests/hyp/runtime/gic.hpp"
#include "tests/hyp/runtime/lab.hpp"
#include "tests/hyp/runtime/vcpu.hpp"

using namespace amphion::lab;
using namespace amphion;

namespace {

constexpr u32 first_line = 100, lines = 20;
u32 order[64];
u32 ordered = 0;

void note(u32 acknowledged) {
  const u32 intid = acknowledged & gic::intid_mask;
  order[ordered++] = intid;
  if (intid >= first_line) hyp::write32(lower, intid);
}

void check_mask() {
  gic::set_priority(1, 0x80);
  gic::set_mask(0x80);  // only what is above 0x80
  gic::send(1, 1);
  spin_us(200);
  CHECK_EQUAL(own().taken[1], 0);
  gic::set_mask(0x88);
  CHECK(becomes([] { return own().taken[1] == 1; }));
  gic::set_mask(0xf0);
}

// The later ones are the more urgent ones; among equals the lower number comes first.
void check_order() {
  interrupts_off();
  ordered = 0;
  for (u32 i = 0; i < lines; ++i) {
    const u32 intid = first_line + i;
    gic::set_priority(intid, 0xe0 - i / 2 * 8);
    gic::set_targets(intid, 1);
    gic::enable(intid);
    hyp::write32(raise, intid);
  }
  interrupts_on();
  CHECK(becomes([] { return ordered == lines; }));
  for (u32 i = 0; i < lines; ++i) CHECK_EQUAL(order[i], first_line + lines - 2 - i / 2 * 2 + i % 2);
  CHECK_EQUAL(gic::highest_pending(), gic::none);
  CHECK_EQUAL(gic::running_priority(), 0xff);
}

// Inside SGI 2 at 0xa0: a more urgent one comes in between, an equal one and a less urgent one wait.
void check_preemption() {
  ordered = 0;
  gic::set_priority(2, 0xa0);
  gic::set_priority(3, 0x50);
  gic::set_priority(4, 0xa0);
  gic::set_priority(5, 0xb0);
  own().hook = [](u32 acknowledged) {
    if ((acknowledged & gic::intid_mask) == 2) {
      CHECK_EQUAL(gic::running_priority(), 0xa0);
      for (const u32 sgi : {5u, 4u, 3u}) gic::send(sgi, 1);
      interrupts_on();
      CHECK(becomes([] { return own().taken[3] == 1; }));
      spin_us(200);
      interrupts_off();
      CHECK_EQUAL(own().taken[4] + own().taken[5], 0);
    }
    note(acknowledged);
  };
  gic::send(2, 1);
  CHECK(becomes([] { return ordered == 4; }));
  constexpr u32 wanted[] = {3, 2, 4, 5};
  for (u32 i = 0; i < 4; ++i) CHECK_EQUAL(order[i], wanted[i]);
}

// With a binary point of 6 only bit 7 of a priority counts for preemption: 0x90 does not preempt 0xa0, 0x50 does.
void check_binary_point() {
  gic::set_binary_point(6);
  gic::set_priority(6, 0xa0);
  gic::set_priority(7, 0x90);
  gic::set_priority(8, 0x50);
  own().hook = [](u32 acknowledged) {
    if ((acknowledged & gic::intid_mask) != 6) return;
    gic::send(7, 1);
    gic::send(8, 1);
    interrupts_on();
    CHECK(becomes([] { return own().taken[8] == 1; }));
    spin_us(200);
    interrupts_off();
    CHECK_EQUAL(own().taken[7], 0);
  };
  gic::send(6, 1);
  CHECK(becomes([] { return own().taken[7] == 1; }));
}

}  // namespace

void guest_main() {
  gic::init();
  own().hook = note;
  interrupts_on();
  check_mask();
  check_order();
  check_preemption();
  check_binary_point();
}
