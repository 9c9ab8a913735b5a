// SPDX-License-Identifier: Apache-2.0
// Entry of every CPU, in HYP mode with MMU off: the first from the board's loader, the others from the firmware's
// PSCI CPU_ON with their number in r0. Turns the MMU on and calls amphion_main(cpu) on that CPU's stack.
// The image runs where it is linked and loaded. Stage 1 is an identity map: stage1.cpp.

#include "hyp/stack.h"

        .syntax unified
        .arch   armv7-a
        .arch_extension virt
        .arch_extension sec
        .arm

        .section .text.start, "ax"
        .global _start
        .global _secondary_start
_start:                                         // a zImage's header: U-Boot's bootz goes into HYP mode, its go does not
        .rept   8
        nop
        .endr
        b       first_cpu
        .word   0x016f2818                      // at 0x24: magic, first byte, end
        .word   _start
        .word   __image_end
first_cpu:
        mov     r0, #0
_secondary_start:
        cpsid   if
        mrs     r1, cpsr
        and     r1, r1, #0x1f
        cmp     r1, #0x1a                       // HYP mode, or there is nothing that we can do
        bne     dead

        ldr     sp, =hyp_stacks
        add     r1, r0, #1
        add     sp, sp, r1, lsl #HYP_STACK_SHIFT

        ldr     r1, =hyp_vectors
        mcr     p15, 4, r1, c12, c0, 0          // HVBAR
        ldr     r1, =0xff04                     // attribute 0: device, 1: normal, write-back, allocate
        mcr     p15, 4, r1, c10, c2, 0          // HMAIR0
        mov     r1, #0
        mcr     p15, 4, r1, c10, c2, 1          // HMAIR1
        ldr     r1, =0x80803500                 // HTCR: T0SZ 0, inner and outer write-back, inner shareable
        mcr     p15, 4, r1, c2, c0, 2
        ldr     r1, =hyp_table
        mov     r2, #0
        mcrr    p15, 4, r1, r2, c2              // HTTBR
        mcr     p15, 4, r2, c8, c7, 0           // TLBIALLH
        mcr     p15, 0, r2, c7, c5, 0           // ICIALLU
        dsb
        isb
        ldr     r1, =0x30c51835                 // HSCTLR: M, C, I and its bits that read as one
        mcr     p15, 4, r1, c1, c0, 0
        isb

        cmp     r0, #0                          // the first CPU clears the memory that has no contents in the image
        bne     2f
        ldr     r1, =__bss_start
        ldr     r2, =__bss_end
        mov     r4, #0
        mov     r5, #0
        mov     r6, #0
        mov     r7, #0
1:      stmia   r1!, {r4-r7}
        stmia   r1!, {r4-r7}
        cmp     r1, r2
        blo     1b
2:      bl      amphion_main
dead:
        wfi
        b       dead
        .ltorg

        .section .bss.hyp_stacks, "aw", %nobits
        .balign 64
        .global hyp_stacks
hyp_stacks:
        .space  HYP_STACKS << HYP_STACK_SHIFT

        .section .note.GNU-stack, "", %progbits
