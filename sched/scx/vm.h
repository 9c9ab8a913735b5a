/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Which threads are vCPUs, and which of them are siblings.
 */
#ifndef AMPHION_SCHED_SCX_VM_H
#define AMPHION_SCHED_SCX_VM_H

#include "sched/scx/state.h"

static inline bool is_digit(char c) { return c >= '0' && c <= '9'; }
static inline bool ends_as_vcpu(const char *name)
{
	return name[0] == '/' && ((name[1] == 'K' && name[2] == 'V' && name[3] == 'M') ||
				  (name[1] == 'T' && name[2] == 'C' && name[3] == 'G'));
}

/* "CPU 3/KVM", "CPU 12/TCG": QEMU's names, with debug-threads=on. */
static bool is_vcpu(struct task_struct *p)
{
	char name[16];

	bpf_probe_read_kernel_str(name, sizeof(name), p->comm);
	if (name[0] != 'C' || name[1] != 'P' || name[2] != 'U' || name[3] != ' ' || !is_digit(name[4]))
		return false;
	return ends_as_vcpu(name + 5) || (is_digit(name[5]) && ends_as_vcpu(name + 6));
}

static void leave_vm(u32 index)
{
	u32 tgid = vm_at(index)->tgid;

	if (__sync_fetch_and_add(&vm_at(index)->count, -1) != 1)
		return;
	bpf_map_delete_elem(&vm_of, &tgid);
	bpf_map_push_elem(&free_vms, &index, 0);
}

/* The VM of a process, with one more vCPU; NONE: there are too many, or it changes just now: the next time will do. */
static u32 join_vm(u32 tgid)
{
	u32 *known = bpf_map_lookup_elem(&vm_of, &tgid), index, seen;

	if (!known) {
		if (bpf_map_pop_elem(&free_vms, &index))
			return NONE;
		vm_at(index)->tgid = tgid;
		vm_at(index)->count = 1;
		if (!bpf_map_update_elem(&vm_of, &tgid, &index, BPF_NOEXIST))
			return index;
		vm_at(index)->count = 0;
		bpf_map_push_elem(&free_vms, &index, 0);
		return NONE;
	}
	index = *known;
	seen = vm_at(index)->count;
	if (!seen || __sync_val_compare_and_swap(&vm_at(index)->count, seen, seen + 1) != seen)
		return NONE;
	return index;
}

__noinline int recognise(struct task_struct *p __arg_trusted, u32 id)
{
	struct sbco_task *task = task_at(id);
	u32 index, i;

	if (task->vm != NONE || !is_vcpu(p))
		return 0;
	index = join_vm(p->tgid);
	if (index == NONE)
		return 0;
	for (i = zero; i < SBCO_MAX_VCPUS && can_loop; i++) {
		u64 bit = 1ULL << (i & 63);

		if (__sync_fetch_and_or(&vm_at(index)->taken, bit) & bit)
			continue;
		*member_at(index, i) = id;
		task->slot = i;
		task->vm = index;
		count()->vcpus++;
		return 1;
	}
	leave_vm(index);
	return 0;
}

#endif
