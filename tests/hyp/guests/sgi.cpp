// SPDX-License-Identifier: Apache-2.0
// Interrupts between vCPUs: who gets them, from whom, how often.
#include "tests/hyp/runtime/call.hpp"
#include "tests/hyp/runtime/check.hpp"
#include "tests/hyp/runtime/exception.hpp"
#include "tests/hyp/runtime/gic.hpp"
#include "tests/hyp/runtime/vcpu.hpp"

using namespace amphion::lab;
using namespace amphion;

namespace {

constexpr u32 ping = 1, pong = 2, enough = 3;
constexpr u32 rounds = 300;

u32 source_of(u32 acknowledged) { return acknowledged >> 10 & 7; }

// Answers every ping, asleep in between.
void second() {
  gic::init();
  own().hook = [](u32 acknowledged) {
    CHECK_EQUAL(source_of(acknowledged), 0);
    if ((acknowledged & gic::intid_mask) == ping) gic::send(pong, 1);
  };
  gic::send(pong, 1);  // here
  while (own().taken[enough] == 0) {
    interrupts_off();
    if (own().taken[enough] == 0) wait();
    interrupts_on();
  }
  interrupts_off();
}

bool taken(u32 sgi, u32 count) {
  return becomes([=] { return own().taken[sgi] >= count; }) && own().taken[sgi] == count;
}

void check_self() {
  gic::send_filtered(4, gic::sgi_self);
  CHECK(taken(4, 1));
  CHECK_EQUAL(source_of(own().last_acknowledged), 0);
  gic::send(5, 1);
  CHECK(taken(5, 1));
  interrupts_off();
  gic::send(5, 1);
  gic::send(5, 1);  // the same again is one
  CHECK_EQUAL(gic::highest_pending(), 5);
  interrupts_on();
  CHECK(taken(5, 2));
}

// To nobody: vCPUs that are off or do not exist, and no one at all.
void check_nobody() {
  gic::send(6, 0);
  gic::send(6, 0xfc);
  gic::send_filtered(6, 3u << 24);
  spin_us(200);
  CHECK_EQUAL(own().taken[6], 0);
}

}  // namespace

void guest_main() {
  gic::init();
  interrupts_on();
  check_self();
  check_nobody();
  CHECK_EQUAL(start_vcpu(1, second), psci::success);
  CHECK(taken(pong, 1));
  CHECK_EQUAL(source_of(own().last_acknowledged), 1);
  for (u32 round = 1; round <= rounds; ++round) {
    if (round % 2 != 0)
      gic::send(ping, 2);
    else
      gic::send_filtered(ping, gic::sgi_others);
    CHECK(taken(pong, round + 1));
  }
  CHECK_EQUAL(state_of(1).taken[ping], rounds);
  CHECK_EQUAL(own().taken[ping], 0);
  gic::send(enough, 2);
  wait_until_off(1);
}
