// SPDX-License-Identifier: Apache-2.0
// Code that writes code, for itself and for another vCPU, with the maintenance that the architecture asks for.
#include "hyp/sysreg.hpp"
#include "tests/hyp/runtime/call.hpp"
#include "tests/hyp/runtime/check.hpp"
#include "tests/hyp/runtime/exception.hpp"
#include "tests/hyp/runtime/vcpu.hpp"

using namespace amphion::lab;
using namespace amphion;

namespace {

// mov r0, #value; bx lr
alignas(64) volatile u32 code[2];
u32 run() { return reinterpret_cast<u32 (*)()>(reinterpret_cast<u32>(&code))(); }

void write_code(u32 value) {
  code[0] = 0xe3a0'0000u | value;
  code[1] = 0xe12f'ff1eu;
  const u32 address = reinterpret_cast<u32>(&code);
  __asm__ volatile(
      "mcr p15, 0, %0, c7, c11, 1\n"  // DCCMVAU
      "dsb\n"
      "mcr p15, 0, %0, c7, c5, 1\n"  // ICIMVAU
      "mcr p15, 0, %0, c7, c5, 7\n"  // BPIMVA
      "dsb\n isb" ::"r"(address)
      : "memory");
}

volatile u32 written = 0, seen = 0, wrong = 0;

void second() {
  for (u32 round = 1; round <= 200; ++round) {
    while (written != round) {
    }
    hyp::isb();
    if (run() != round) wrong = wrong + 1;
    seen = round;
  }
}

}  // namespace

void guest_main() {
  for (u32 value = 0; value < 200; ++value) {
    write_code(value);
    CHECK_EQUAL(run(), value);
  }
  CHECK_EQUAL(start_vcpu(1, second), psci::success);
  for (u32 round = 1; round <= 200; ++round) {
    write_code(round);
    hyp::dsb();
    written = round;
    CHECK(becomes([=] { return seen == round; }));
  }
  CHECK_EQUAL(wrong, 0);
  wait_until_off(1);
}
