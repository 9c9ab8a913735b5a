/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Distance and debt: who is too far ahead of a sibling lends it virtual time, and how that gets there. lends() and clean() are
 * called under the lock of the lender's queue.
 */
#ifndef AMPHION_SCHED_SCX_DEBT_H
#define AMPHION_SCHED_SCX_DEBT_H

#include "sched/scx/queue.h"

static void push_debt(u32 cpu, u32 id)
{
	u32 *box = &cpu_at(cpu)->debts;
	u32 head = *(volatile u32 *)box, seen;

	while (can_loop) {
		task_at(id)->debt_link = head;
		seen = __sync_val_compare_and_swap(box, head, id);
		if (seen == head)
			break;
		head = seen;
	}
}

/* The sibling on another CPU that has most turns before it, of those that may borrow. */
static __noinline u32 slowest_sibling(u32 id, u32 cpu)
{
	u64 taken = vm_at(task_at(id)->vm)->taken, most_before = 0;
	u32 slowest = NONE, i;

	for (i = zero; i < SBCO_MAX_VCPUS && can_loop; i++) {
		u32 sibling = *member_at(task_at(id)->vm, i);
		u64 place = place_of(sibling);

		if (!(taken >> (i & 63) & 1) || sibling == id || task_at(sibling)->debt != SBCO_CLEAN)
			continue;
		if (sbco_place_life(place) != SBCO_QUEUED || sbco_place_cpu(place) == cpu ||
		    sbco_place_ordinate(place) <= most_before)
			continue;
		slowest = sibling;
		most_before = sbco_place_ordinate(place);
	}
	return slowest;
}

/* SCHED_BALANCE: whether `id`, which would run now, is too far ahead of a sibling, and lends it virtual time. */
static __noinline bool lends(struct queue *queue, u32 cpu, u32 id, u32 length)
{
	u32 sibling = slowest_sibling(id, cpu), was = task_at(id)->debt;
	u64 place = place_of(sibling), turn_vt = cpu_at(cpu)->turn_vt, other_vt;

	if (sibling == NONE || (was != SBCO_CLEAN && was != SBCO_BORROWED) ||
	    !sbco_far(0, sbco_place_ordinate(place), sbco_threshold(length, threshold)))
		return false;
	if (__sync_val_compare_and_swap(&task_at(id)->debt, was, SBCO_LENT) != was)
		return false;
	if (__sync_val_compare_and_swap(&task_at(sibling)->debt, SBCO_CLEAN, SBCO_OWED) != SBCO_CLEAN) {
		__sync_val_compare_and_swap(&task_at(id)->debt, SBCO_LENT, was);
		return false;
	}
	other_vt = cpu_at(sbco_place_cpu(place))->turn_vt;
	if (other_vt && other_vt < turn_vt)
		turn_vt = other_vt;
	task_at(sibling)->debt_vt = turn_vt / 2;
	push_debt(sbco_place_cpu(place), sibling);
	set_key(queue, id, task_at(id)->node.key + turn_vt / 2);
	return true;
}

/* Who begins a turn may lend again; and borrow, after it has run twice what it got: nobody lives on loans. */
static __noinline void clean(u32 id)
{
	u32 was = task_at(id)->debt;

	if (was == SBCO_LENT || (was == SBCO_BORROWED && task_at(id)->ran_vt >= 2 * task_at(id)->debt_vt))
		__sync_val_compare_and_swap(&task_at(id)->debt, was, SBCO_CLEAN);
}

/* The debts in a CPU's box; who finds one applies it. It follows a vCPU that has moved. */
__noinline int take_debts(u32 cpu)
{
	u32 id = *(volatile u32 *)&cpu_at(cpu)->debts;

	if (id == NONE)
		return 0;
	id = __sync_lock_test_and_set(&cpu_at(cpu)->debts, NONE);
	while (id != NONE && can_loop) {
		struct sbco_task *task = task_at(id);
		u32 next = task->debt_link, at = sbco_place_cpu(place_of(id)), state = SBCO_OWED;
		struct queue *queue = bpf_map_lookup_elem(&queues, &at);
		bool posted = false;
		u64 place;

		if (!queue)
			return 0;
		bpf_spin_lock(&queue->lock);
		place = place_of(id);
		if (task->debt != SBCO_DEAD && (sbco_place_cpu(place) != at || sbco_place_life(place) == SBCO_AWAY)) {
			posted = true;
		} else {
			u64 key = task->node.key, amount = task->debt_vt;

			state = __sync_val_compare_and_swap(&task->debt, SBCO_OWED, SBCO_BORROWED);
			if (state == SBCO_OWED) {
				task->ran_vt = 0;
				set_key(queue, id, key > amount ? key - amount : 0);
			}
		}
		bpf_spin_unlock(&queue->lock);
		if (posted) {
			push_debt(sbco_place_cpu(place), id);
		} else if (state == SBCO_OWED) {
			count()->debts_applied++;
		} else {
			count()->debts_void++;
			bpf_map_push_elem(&free_ids, &id, 0);
		}
		id = next;
	}
	return 0;
}

#endif
