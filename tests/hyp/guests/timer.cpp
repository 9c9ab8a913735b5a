// SPDX-License-Identifier: Apache-2.0
// The virtual and the physical timer, on both vCPUs: an interrupt never comes early and always comes; masks, status and
// the signed 32-bit view do as they should; one counter for all.
#include "hyp/sysreg.hpp"
#include "tests/hyp/runtime/call.hpp"
#include "tests/hyp/runtime/check.hpp"
#include "tests/hyp/runtime/exception.hpp"
#include "tests/hyp/runtime/gic.hpp"
#include "tests/hyp/runtime/vcpu.hpp"

using namespace amphion::lab;
using namespace amphion;

namespace {

constexpr u32 on = 1, masked = 2, status = 4;
// Decades ahead. With a compare value that overflows when CNTVOFF is added, QEMU 7.2 stands still.
constexpr u64 far = u64{1} << 60;

struct Timer {
  u32 intid;
  void (*set_control)(u32);
  u32 (*control)();
  void (*set_compare)(u64);
  u64 (*compare)();
  void (*set_value)(u32);
  u32 (*value)();
};

#define REGISTER_32(words)                                                \
  [] {                                                                    \
    u32 v;                                                                \
    __asm__ volatile("isb\n mrc p15, 0, %0, " words : "=r"(v)::"memory"); \
    return v;                                                             \
  }
#define SET_32(words) [](u32 v) { __asm__ volatile("mcr p15, 0, %0, " words "\n isb" ::"r"(v) : "memory"); }
#define REGISTER_64(op)                                                            \
  [] {                                                                             \
    u64 v;                                                                         \
    __asm__ volatile("isb\n mrrc p15, " op ", %Q0, %R0, c14" : "=r"(v)::"memory"); \
    return v;                                                                      \
  }
#define SET_64(op) [](u64 v) { __asm__ volatile("mcrr p15, " op ", %Q0, %R0, c14\n isb" ::"r"(v) : "memory"); }

constexpr Timer timers[] = {
    {virtual_timer, SET_32("c14, c3, 1"), REGISTER_32("c14, c3, 1"), SET_64("3"), REGISTER_64("3"),
     SET_32("c14, c3, 0"), REGISTER_32("c14, c3, 0")},
    {physical_timer, SET_32("c14, c2, 1"), REGISTER_32("c14, c2, 1"), SET_64("2"), REGISTER_64("2"),
     SET_32("c14, c2, 0"), REGISTER_32("c14, c2, 0")},
};
constexpr auto physical_counter = REGISTER_64("0");

volatile u64 taken_at[machine::max_vcpus];
const Timer* current[machine::max_vcpus];

void on_timer(u32) {
  taken_at[vcpu_number()] = counter();
  current[vcpu_number()]->set_control(on | masked);
}

bool came(const Timer& timer, u32 count) {
  return becomes([&] { return own().taken[timer.intid] == count; });
}

// Spinning and asleep, near and far, in the past.
void check_never_early(const Timer& timer) {
  const u32 before = own().taken[timer.intid];
  u32 count = before;
  for (const u32 delay_us : {0u, 1u, 5u, 20u, 100u, 700u, 3000u}) {
    for (const bool asleep : {false, true}) {
      const u64 due = counter() + ticks_of_us(delay_us);
      timer.set_compare(due);
      timer.set_control(on);
      ++count;
      while (asleep && own().taken[timer.intid] != count) {
        interrupts_off();
        if (own().taken[timer.intid] != count) wait();
        interrupts_on();
      }
      CHECK(came(timer, count));
      CHECK(taken_at[vcpu_number()] >= due);
    }
  }
}

void check_control(const Timer& timer) {
  const u32 before = own().taken[timer.intid];
  timer.set_compare(counter() + ticks_of_us(1'000'000));
  timer.set_control(on);
  CHECK_EQUAL(timer.control(), on);
  timer.set_control(on | masked);
  timer.set_compare(0);  // long ago
  CHECK_EQUAL(timer.control(), on | masked | status);
  timer.set_control(0);
  CHECK_EQUAL(timer.control() & on, 0);
  timer.set_compare(far);
  timer.set_control(on);
  spin_us(200);
  timer.set_control(0);
  const u32 unexpected = own().taken[timer.intid] - before;
  CHECK_EQUAL(unexpected, 0);
}

// The value is what is left, signed; writing it sets the compare register.
void check_value(const Timer& timer) {
  timer.set_control(0);
  const u64 before = counter();
  timer.set_value(0x7fff'ffff);
  const u64 after = counter();
  CHECK(timer.compare() >= before + 0x7fff'ffff && timer.compare() <= after + 0x7fff'ffff);
  timer.set_value(static_cast<u32>(-1000));
  CHECK(timer.compare() < counter());
  CHECK(static_cast<std::int32_t>(timer.value()) <= -1000);
}

void check_timers() {
  gic::init();
  own().hook = on_timer;
  interrupts_on();
  for (const Timer& timer : timers) {
    current[vcpu_number()] = &timer;
    gic::enable(timer.intid);
    check_value(timer);
    check_control(timer);
    check_never_early(timer);
    timer.set_control(0);
  }
  interrupts_off();
}

void check_one_counter() {
  for (u32 i = 0; i < 100; ++i) {
    const u64 a = counter(), b = physical_counter(), c = counter();
    CHECK(a <= b && b <= c);
  }
}

}  // namespace

void guest_main() {
  check_one_counter();
  check_timers();
  CHECK_EQUAL(start_vcpu(1, check_timers), psci::success);
  check_timers();  // at the same time
  wait_until_off(1);
}
