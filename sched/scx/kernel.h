/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What vmlinux.h does not carry: macros of BPF programs, and names that kernels between 6.12 and today have changed. */
#ifndef AMPHION_SCHED_SCX_KERNEL_H
#define AMPHION_SCHED_SCX_KERNEL_H

#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define PF_KTHREAD 0x00200000 /* include/linux/sched.h: macros are in no type information */

#define OPERATION(name, args...) \
	SEC("struct_ops/" #name)  \
	BPF_PROG(name, ##args)
#define SLEEPABLE_OPERATION(name, args...) \
	SEC("struct_ops.s/" #name)          \
	BPF_PROG(name, ##args)

/* The verifier's own bound for a loop (may_goto, since 6.9): no call, so it may stand under a lock. */
#define can_loop                                                        \
	({                                                              \
		__label__ enough, more;                                 \
		bool go_on = true;                                      \
		asm volatile goto("may_goto %l[enough]" : : : : enough); \
		goto more;                                              \
enough:                                                                 \
		go_on = false;                                          \
more:                                                                   \
		go_on;                                                  \
	})

extern void scx_bpf_dispatch(struct task_struct *p, u64 dsq_id, u64 slice, u64 enq_flags) __ksym __weak; /* 6.12 */

static inline void hand_to_kernel(struct task_struct *p, u64 dsq_id, u64 slice, u64 enq_flags)
{
	if (bpf_ksym_exists(scx_bpf_dsq_insert))
		scx_bpf_dsq_insert(p, dsq_id, slice, enq_flags);
	else
		scx_bpf_dispatch(p, dsq_id, slice, enq_flags);
}

static inline void set_slice(struct task_struct *p, u64 slice)
{
	if (bpf_ksym_exists(scx_bpf_task_set_slice)) /* 6.18 */
		scx_bpf_task_set_slice(p, slice);
	else
		p->scx.slice = slice;
}

#endif
