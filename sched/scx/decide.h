/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The scheduling point of a CPU: who runs next.
 */
#ifndef AMPHION_SCHED_SCX_DECIDE_H
#define AMPHION_SCHED_SCX_DECIDE_H

#include "sched/scx/debt.h"

static inline struct sbco_decision *decision_at(u32 cpu) { return &decisions[masked(cpu, SBCO_MAX_CPUS)]; }

/* A vCPU that has not just run here, and that has a sibling that runs on another CPU. */
static __noinline bool would_join(u32 id, u32 cpu)
{
	u32 index = task_at(id)->vm, i;
	u64 taken;

	if (index == NONE || id == cpu_at(cpu)->ran_last)
		return false;
	taken = vm_at(index)->taken;
	for (i = zero; i < SBCO_MAX_VCPUS && taken >> (i & 63) && can_loop; i++) {
		u64 place = place_of(*member_at(index, i));

		if ((taken >> (i & 63) & 1) && sbco_place_life(place) == SBCO_RUNNING && sbco_place_cpu(place) != cpu)
			return true;
	}
	return false;
}

#define SBCO_WOULD_JOIN(id, cpu) would_join(id, cpu)
#define SBCO_ZERO zero
#include "sched/scx/join_code.h"

/* The scheduling point. `prev` is ready and runs, or is NONE. Whoever goes next is out of the tree when it returns. */
static void decide_locked(struct queue *queue, u32 cpu, u32 prev, u64 now)
{
	struct sbco_decision *decision = decision_at(cpu);
	struct sbco_tree *tree = &queue->tree;
	u32 first = tree->first, candidate, successor, chosen;
	u32 length = tree->size + (prev != NONE), prev_weight = prev != NONE ? task_at(prev)->weight : 0;
	bool stays = prev != NONE && !task_at(prev)->yielded;
	u64 least, turn_vt;

	decision->id = NONE;
	decision->lent = decision->joined = false;
	if (prev != NONE)
		charge(cpu, prev, now);
	if (!length)
		return;
	least = first != NONE ? task_at(first)->node.key : task_at(prev)->node.key;
	if (stays && task_at(prev)->node.key < least)
		least = task_at(prev)->node.key;
	if (least > cpu_at(cpu)->minimum_vt)
		cpu_at(cpu)->minimum_vt = least;
	if (first == NONE || (stays && task_at(prev)->node.key <= task_at(first)->node.key)) {
		candidate = prev;
		successor = first;
	} else {
		candidate = first;
		successor = sbco_next(first);
		if (stays && (successor == NONE || task_at(prev)->node.key < task_at(successor)->node.key))
			successor = prev;
	}
	turn_vt = cpu_at(cpu)->turn_vt = turn_vt_of(queue, length, prev_weight);
	chosen = length >= SBCO_JOINING_LENGTH ? sbco_joiner(tree, least, turn_vt, cpu) : NONE;
	if (chosen != NONE) {
		turn_vt = sbco_joined_turn(task_at(chosen)->node.key - least, turn_vt);
		decision->joined = true;
	} else if (successor != NONE && task_at(candidate)->vm != NONE && lends(queue, cpu, candidate, length)) {
		chosen = successor;
		decision->lent = true;
	} else {
		chosen = candidate;
	}
	decision->slice_ns = slice_ns(chosen, turn_vt);
	cpu_at(cpu)->running = chosen;
	if (task_at(chosen)->queued)
		leave(queue, cpu, chosen);
	else
		refresh_length(queue, cpu);
	task_at(chosen)->started = now;
	task_at(chosen)->yielded = 0;
	publish_place(chosen, cpu, SBCO_RUNNING, 0);
	clean(chosen);
	publish(queue, cpu);
	decision->id = chosen;
	decision->pid = task_at(chosen)->pid;
}

__noinline int decide(u32 cpu, u32 prev, u64 now)
{
	struct queue *queue = bpf_map_lookup_elem(&queues, &cpu);

	if (!queue)
		return 0;
	bpf_spin_lock(&queue->lock);
	decide_locked(queue, cpu, prev, now);
	bpf_spin_unlock(&queue->lock);
	return 0;
}

#endif
