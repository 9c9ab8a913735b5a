// SPDX-License-Identifier: Apache-2.0
// Trapped instructions whose condition fails do nothing, in ARM state and in Thumb's IT blocks, 16 and 32 bits wide;
// those whose condition holds are carried out, and the block goes on behind them. The processor's own MOV is the judge.
// (A Cortex-A7 may trap an instruction whose condition fails; QEMU never does, so there that half is proven without a
// trap.)
#include "tests/hyp/runtime/check.hpp"
#include "tests/hyp/runtime/exception.hpp"
#include "tests/hyp/runtime/lab.hpp"

using namespace amphion::lab;
using namespace amphion;
using hyp::read32;

// u32 arm_CC(flags, address): bit 0: MOV done, 1: trapped read done, 2: device load done.
// u32 thumb_CC(flags, address): two instructions under CC, two under its opposite; bits as above, and 3: the
// opposite's.
#define CONDITIONS(X) X(eq) X(ne) X(cs) X(cc) X(mi) X(pl) X(vs) X(vc) X(hi) X(ls) X(ge) X(lt) X(gt) X(le)

__asm__(R"(
        .syntax unified
        .text
        .macro  results own, other
        mov     r0, r2
        cmp     r3, r12
        orrne   r0, r0, #2
        cmp     r4, r12
        orrne   r0, r0, #4
        cmp     r5, r12
        orrne   r0, r0, #8
        .endm

        .macro  in_arm cc
        .arm
arm_\cc:
        push    {r4, r5, lr}
        ldr     r12, =0x0badbad0
        mov     r2, #0
        mov     r3, r12
        mov     r4, r12
        mov     r5, r12
        msr     cpsr_f, r0
        mrc\cc  p15, 0, r3, c1, c0, 1
        ldr\cc  r4, [r1]
        mov\cc  r2, #1
        results
        pop     {r4, r5, pc}
        .ltorg
        .endm

        .macro  in_thumb cc, opposite, wide
        .thumb
        .thumb_func
thumb\wide\()_\cc:
        push    {r4, r5, lr}
        ldr     r2, =0x0badbad0
        mov     r12, r2
        mov     r3, r12
        mov     r4, r12
        mov     r5, r12
        mov     r2, #0
        msr     cpsr_f, r0
        itett   \cc
        mrc\cc  p15, 0, r3, c1, c0, 1
        ldr\opposite\wide r5, [r1]
        ldr\cc\wide r4, [r1]
        mov\cc  r2, #1
        mov     r0, r2
        cmp     r3, r12
        it      ne
        orrne   r0, r0, #2
        cmp     r4, r12
        it      ne
        orrne   r0, r0, #4
        cmp     r5, r12
        it      ne
        orrne   r0, r0, #8
        pop     {r4, r5, pc}
        .ltorg
        .endm

        .macro  both cc, opposite
        in_arm  \cc
        in_thumb \cc, \opposite, .n
        in_thumb \cc, \opposite, .w
        .endm
        both eq, ne
        both ne, eq
        both cs, cc
        both cc, cs
        both mi, pl
        both pl, mi
        both vs, vc
        both vc, vs
        both hi, ls
        both ls, hi
        both ge, lt
        both lt, ge
        both gt, le
        both le, gt

@ u32 thumb_smc(flags): SMC as the last of an IT block of three; tells which of the others was carried out.
        .arch_extension sec
        .thumb
        .thumb_func
        .global thumb_smc, thumb_smc_here
thumb_smc:
        mov     r1, #0
        msr     cpsr_f, r0
        itet    eq
        moveq   r1, #1
        movne   r1, #2
thumb_smc_here:
        smceq   #0
        mov     r0, r1
        bx      lr

@ void arm_smc_ne(flags); void arm_wfi_ne(flags): not carried out if Z is set
        .arm
        .global arm_smc_ne, arm_wfi_ne
arm_smc_ne:
        msr     cpsr_f, r0
        smcne   #0
        bx      lr
arm_wfi_ne:
        msr     cpsr_f, r0
        wfine
        bx      lr
)");

#define DECLARE(cc)                                                                                              \
  extern "C" amphion::hyp::u32 arm_##cc(amphion::hyp::u32 flags, amphion::hyp::u32 address) __asm__("arm_" #cc); \
  extern "C" amphion::hyp::u32 narrow_##cc(amphion::hyp::u32 flags,                                              \
                                           amphion::hyp::u32 address) __asm__("thumb.n_" #cc);                   \
  extern "C" amphion::hyp::u32 wide_##cc(amphion::hyp::u32 flags, amphion::hyp::u32 address) __asm__("thumb.w_" #cc);
CONDITIONS(DECLARE)
extern "C" amphion::hyp::u32 thumb_smc(amphion::hyp::u32 flags);
extern "C" void thumb_smc_here();
extern "C" void arm_smc_ne(amphion::hyp::u32 flags);
extern "C" void arm_wfi_ne(amphion::hyp::u32 flags);

namespace {

constexpr u32 zero_flag = 1u << 30;

using Case = u32 (*)(u32 flags, u32 address);

void check_arm(Case run, u32 flags) {
  const u32 accesses = read32(echo_count);
  const u32 result = run(flags, echo.base);
  CHECK_EQUAL(result, (result & 1) != 0 ? 7 : 0);
  CHECK_EQUAL(read32(echo_count) - accesses, result & 1);
}

// One load under the condition, one under its opposite: always one access.
void check_thumb(Case run, u32 flags) {
  const u32 accesses = read32(echo_count);
  const u32 result = run(flags, echo.base);
  CHECK_EQUAL(result, (result & 1) != 0 ? 7 : 8);
  CHECK_EQUAL(read32(echo_count) - accesses, 1);
}

void check_smc() {
  u32 result = 0;
  const Fault holds = fault_of([&] { result = thumb_smc(zero_flag); });
  CHECK(holds.kind == Kind::undefined);
  CHECK_EQUAL(holds.count, 1);
  CHECK_EQUAL(holds.pc, reinterpret_cast<u32>(&thumb_smc_here) & ~1u);
  CHECK_EQUAL(result, 1);
  const Fault fails = fault_of([&] { result = thumb_smc(0); });
  CHECK_EQUAL(fails.count, 0);
  CHECK_EQUAL(result, 2);
  CHECK_EQUAL(fault_of([] { arm_smc_ne(zero_flag); }).count, 0);
  CHECK_EQUAL(fault_of([] { arm_smc_ne(0); }).count, 1);
}

}  // namespace

void guest_main() {
  for (u32 flags = 0; flags < 16; ++flags) {
#define CHECK_CONDITION(cc) \
  check_arm(arm_##cc, flags << 28), check_thumb(narrow_##cc, flags << 28), check_thumb(wide_##cc, flags << 28);
    CONDITIONS(CHECK_CONDITION)
  }
  CHECK_EQUAL(arm_eq(zero_flag, echo.base), 7);
  CHECK_EQUAL(narrow_ne(zero_flag, echo.base), 8);
  check_smc();
  arm_wfi_ne(zero_flag);  // nothing would end that sleep
}
