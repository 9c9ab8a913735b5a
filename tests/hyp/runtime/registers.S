// SPDX-License-Identifier: Apache-2.0
// Everything that a program sees of a vCPU, held through a sleep; see registers.hpp.
        .syntax unified
        .arch   armv7-a
        .fpu    neon-vfpv4
        .arm
        .text

// void hold(const Visible* in, Visible* out): loads all of `in`, stores r0 to where r1 points, sleeps until an
// interrupt waits, stores all to `out`.
#define FPSCR 56
#define VFP 64
        .global hold
hold:
        push    {r4-r11, lr}
        push    {r1}
        ldr     r2, [r0, #FPSCR]
        vmsr    fpscr, r2
        add     r2, r0, #VFP
        vldmia  r2!, {d0-d15}
        vldmia  r2, {d16-d31}
        mov     lr, r0
        ldm     lr, {r0-r12}
        ldr     lr, [lr, #52]
        str     r0, [r1]
        dsb
        wfi
        push    {r0-r12, lr}
        ldr     r0, [sp, #56]
        mov     r1, #0
1:      ldr     r2, [sp, r1]
        str     r2, [r0, r1]
        add     r1, r1, #4
        cmp     r1, #56
        bne     1b
        vmrs    r2, fpscr
        str     r2, [r0, #FPSCR]
        add     r2, r0, #VFP
        vstmia  r2!, {d0-d15}
        vstmia  r2, {d16-d31}
        add     sp, sp, #60
        pop     {r4-r11, pc}
        .section .note.GNU-stack, "", %progbits
