// SPDX-License-Identifier: Apache-2.0
// Entry of every vCPU (of the first from the loader, of the others from PSCI CPU_ON with its context in r0) and the
// exception vectors. The MMU is on with an identity map: devices below RAM, memory above. Everything runs in SVC mode
// on one stack a vCPU; every exception is saved there as a Frame (exception.hpp) and may be changed before it returns.

#define STACK_SHIFT 14
#define MODE_SVC 0x13

        .syntax unified
        .arch   armv7-a
        .fpu    neon-vfpv4
        .arm

        .section .text.start, "ax"
        .global _start, secondary_start
_start:
        mov     r0, #0
secondary_start:
        cpsid   aif, #MODE_SVC
        mov     r4, r0
        mrc     p15, 0, r5, c0, c0, 5           // MPIDR
        and     r5, r5, #3
        ldr     sp, =stacks
        add     r1, r5, #1
        add     sp, sp, r1, lsl #STACK_SHIFT

        ldr     r1, =vectors
        mcr     p15, 0, r1, c12, c0, 0          // VBAR
        mov     r1, #0xf << 20
        mcr     p15, 0, r1, c1, c0, 2           // CPACR: VFP
        isb
        mov     r1, #1 << 30
        vmsr    fpexc, r1

        ldr     r1, =0xff04                     // attribute 0: device, 1: normal, write-back, allocate
        mcr     p15, 0, r1, c10, c2, 0          // MAIR0
        ldr     r1, =0x80003500                 // TTBCR: long descriptors, write-back, inner shareable
        mcr     p15, 0, r1, c2, c0, 2
        ldr     r1, =identity_map
        mov     r2, #0
        mcrr    p15, 0, r1, r2, c2              // TTBR0
        mcr     p15, 0, r2, c8, c7, 0           // TLBIALL
        mcr     p15, 0, r2, c7, c5, 0           // ICIALLU
        dsb
        isb
        mrc     p15, 0, r1, c1, c0, 0           // SCTLR
        orr     r1, r1, #0x1000                 // I
        orr     r1, r1, #0x0005                 // C, M
        mcr     p15, 0, r1, c1, c0, 0
        isb
        mov     r0, r5
        mov     r1, r4
        bl      runtime_main
        b       .
        .ltorg

        .macro  exception kind, offset
        sub     lr, lr, #\offset
        srsdb   sp!, #MODE_SVC
        cpsid   i, #MODE_SVC
        push    {r0-r12, lr}
        clrex
        mov     r0, #\kind
        mov     r1, sp
        mov     r4, sp
        bic     sp, sp, #7
        bl      on_exception
        mov     sp, r4
        pop     {r0-r12, lr}
        rfeia   sp!
        .endm

        .text
undefined:      exception 1, 0
supervisor:     exception 2, 0
prefetch:       exception 3, 4
data:           exception 4, 8
interrupt:      exception 6, 4
fast_interrupt: exception 7, 4

        .balign 32
vectors:
        b       .
        b       undefined
        b       supervisor
        b       prefetch
        b       data
        b       .
        b       interrupt
        b       fast_interrupt

        .data
        .balign 32
identity_map:                                   // level 1, 1 GiB each: AF, inner shareable, for user mode too
        .word   0x00000741, 0x00400000          // devices, never executed
        .word   0x40000745, 0
        .word   0x80000745, 0
        .word   0xc0000745, 0

        .section .stacks, "aw", %nobits
        .balign 16
stacks: .space  4 << STACK_SHIFT
        .section .note.GNU-stack, "", %progbits
