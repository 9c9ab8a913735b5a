// SPDX-License-Identifier: Apache-2.0
// The way into a guest and back. enter_guest() loads r0..r12, lr, pc and cpsr from the vCPU's saved registers and
// returns when the guest traps or is interrupted, with those registers saved again: to its C++ caller a guest run is
// one function call. Everything else of a guest (banked registers, CP15, VFP) is switched by world.cpp.
// Invariant: while a guest runs, sp points to {registers, r4..r11, lr of the caller}.
// Interrupts stay masked in HYP mode, so only the two guest vectors can be taken without a bug of ours.

#include "hyp/exit_reason.h"

#define REGS_LR 56      // offsets from amphion_vcpu::r, asserted in world.cpp
#define REGS_PC 60
#define REGS_CPSR 64

        .syntax unified
        .arch   armv7-a
        .arch_extension virt
        .arch_extension sec
        .fpu    neon-vfpv4
        .arm
        .text

// u32 enter_guest(u32* registers)
        .global enter_guest
enter_guest:
        push    {r4-r11, lr}
        push    {r0}
        ldr     r1, [r0, #REGS_PC]
        ldr     r2, [r0, #REGS_CPSR]
        msr     ELR_hyp, r1
        msr     spsr_cxsf, r2
        ldr     lr, [r0, #REGS_LR]
        ldmia   r0, {r0-r12}
        eret

        .macro  leave reason
        push    {r0}
        ldr     r0, [sp, #4]
        add     r0, r0, #4
        stmia   r0, {r1-r12}
        sub     r0, r0, #4
        str     lr, [r0, #REGS_LR]
        pop     {r1}
        str     r1, [r0]
        mrs     r1, ELR_hyp
        mrs     r2, spsr
        str     r1, [r0, #REGS_PC]
        str     r2, [r0, #REGS_CPSR]
        clrex
        mov     r0, #\reason
        add     sp, sp, #4
        pop     {r4-r11, pc}
        .endm

guest_trap:
        leave   AMPHION_EXIT_TRAP
guest_irq:
        leave   AMPHION_EXIT_IRQ

        .macro  bug label, words
\label:
        push    {r14}
        push    {r0-r12}
        mov     r1, sp
        ldr     r0, =9f
        b       hyp_exception
        .ltorg
9:      .asciz  "\words"
        .balign 4
        .endm

        bug     hyp_undefined, "undefined instruction"
        bug     hyp_call, "hypervisor call"
        bug     hyp_prefetch, "prefetch abort"
        bug     hyp_data, "data abort"
        bug     hyp_interrupt, "interrupt"

        .balign 32
        .global hyp_vectors
hyp_vectors:
        b       hyp_interrupt                   // 0x00 not used
        b       hyp_undefined                   // 0x04
        b       hyp_call                        // 0x08
        b       hyp_prefetch                    // 0x0c
        b       hyp_data                        // 0x10
        b       guest_trap                      // 0x14
        b       guest_irq                       // 0x18
        b       guest_irq                       // 0x1c

// void save_vfp(u64 d[32]); void load_vfp(const u64 d[32]): FPEXC.EN is set
        .global save_vfp
save_vfp:
        vstmia  r0!, {d0-d15}
        vstmia  r0, {d16-d31}
        bx      lr
        .global load_vfp
load_vfp:
        vldmia  r0!, {d0-d15}
        vldmia  r0, {d16-d31}
        bx      lr
// u32 read_fpexc(); void write_fpexc(u32); u32 read_fpscr(); void write_fpscr(u32)
        .global read_fpexc
read_fpexc:
        vmrs    r0, fpexc
        bx      lr
        .global write_fpexc
write_fpexc:
        vmsr    fpexc, r0
        isb
        bx      lr
        .global read_fpscr
read_fpscr:
        vmrs    r0, fpscr
        bx      lr
        .global write_fpscr
write_fpscr:
        vmsr    fpscr, r0
        bx      lr

// u64 firmware_call(u32 function, u32 a, u32 b, u32 c): SMC calling convention, result in r0
        .global firmware_call
firmware_call:
        push    {r4-r11, lr}
        smc     #0
        pop     {r4-r11, pc}

        .section .note.GNU-stack, "", %progbits
