// SPDX-License-Identifier: Apache-2.0
// What a guest must not use is undefined to it; debug and performance registers are hidden: zero, and they stay so.
#include "hyp/sysreg.hpp"
#include "machine/identity.hpp"
#include "tests/hyp/runtime/check.hpp"
#include "tests/hyp/runtime/exception.hpp"
#include "tests/hyp/runtime/user.hpp"

using namespace amphion::lab;
using namespace amphion;

namespace {

#define READS(words)                       \
  ([] {                                    \
    u32 value;                             \
    __asm__ volatile(words : "=r"(value)); \
    return value;                          \
  }())
#define WRITES(words, value) __asm__ volatile(words ::"r"(value))
#define UNDEFINED(words) CHECK(undefined([] { __asm__ volatile(".arch_extension sec\n" words ::: "r0", "r1"); }))

void check_undefined() {
  UNDEFINED("smc #0");
  UNDEFINED("smc #15");
  UNDEFINED("mrc p15, 4, r0, c1, c1, 0");  // HCR
  UNDEFINED("mcr p15, 4, r0, c1, c1, 0");
  UNDEFINED("mrrc p15, 6, r0, r1, c2");     // VTTBR
  UNDEFINED("mrrc p15, 4, r0, r1, c14");    // CNTVOFF
  UNDEFINED("mrc p15, 4, r0, c14, c2, 1");  // CNTHP_CTL
  UNDEFINED("mrc p15, 0, r0, c1, c1, 0");   // SCR
  UNDEFINED("mrc p14, 1, r0, c0, c0, 0");   // trace
  UNDEFINED("mrc p5, 0, r0, c0, c0, 0");
  UNDEFINED("ldc p14, c5, [sp]");  // DBGDTRTX
  UNDEFINED("udf #0");
}

void check_hidden() {
  WRITES("mcr p15, 0, %0, c9, c12, 0", 1);            // PMCR: counters on
  WRITES("mcr p15, 0, %0, c9, c12, 1", 0x8000'0000);  // PMCNTENSET
  CHECK_EQUAL(READS("mrc p15, 0, %0, c9, c12, 0"), 0);
  CHECK_EQUAL(READS("mrc p15, 0, %0, c9, c12, 1"), 0);
  CHECK_EQUAL(READS("mrc p15, 0, %0, c9, c13, 0"), 0);  // PMCCNTR
  WRITES("mcr p14, 0, %0, c0, c2, 2", 1u << 15);        // DBGDSCRext: monitor mode
  CHECK_EQUAL(READS("mrc p14, 0, %0, c0, c1, 0"), 0);   // DBGDSCRint
  WRITES("mcr p14, 0, %0, c0, c0, 5", 1);               // DBGBCR0
  CHECK_EQUAL(READS("mrc p14, 0, %0, c0, c0, 5"), 0);
  CHECK_EQUAL(READS("mrc p14, 0, %0, c1, c0, 0"), 0);  // DBGDRAR
  u32 low = 1, high = 1;
  __asm__ volatile("mrrc p14, 0, %0, %1, c1" : "=r"(low), "=r"(high));
  CHECK_EQUAL(low | high, 0);
  CHECK_EQUAL(READS("mrc p15, 0, %0, c15, c0, 0"), 0);  // implementation defined
}

// ACTLR is read as it is and never changed; L2CTLR tells the number of vCPUs; MIDR and MPIDR are the machine's.
void check_identity() {
  const u32 actlr = READS("mrc p15, 0, %0, c1, c0, 1");
  WRITES("mcr p15, 0, %0, c1, c0, 1", ~actlr);
  CHECK_EQUAL(READS("mrc p15, 0, %0, c1, c0, 1"), actlr);
  CHECK_EQUAL(READS("mrc p15, 1, %0, c9, c0, 2") >> 24 & 3, 2);
  CHECK_EQUAL(hyp::Midr::read(), machine::midr);
  CHECK_EQUAL(hyp::Mpidr::read(), 0x8000'0000);
}

// User mode may not even ask.
void check_user_mode() {
#define UNDEFINED_TO_USER(words)                                                                     \
  CHECK(undefined([] {                                                                               \
    as_user([] { __asm__ volatile(".arch_extension sec\n.arch_extension virt\n" words ::: "r0"); }); \
  }))
  UNDEFINED_TO_USER("smc #0");
  UNDEFINED_TO_USER("hvc #0");
  UNDEFINED_TO_USER("mrc p15, 0, r0, c1, c0, 1");   // ACTLR
  UNDEFINED_TO_USER("mrc p15, 0, r0, c14, c2, 1");  // CNTP_CTL
  UNDEFINED_TO_USER("mcr p15, 0, r0, c7, c14, 2");  // set/way
}

}  // namespace

void guest_main() {
  check_undefined();
  check_hidden();
  check_identity();
  check_user_mode();
}
