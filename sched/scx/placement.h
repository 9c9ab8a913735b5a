/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Dispatch: on which CPU a task waits or runs, so that siblings stand on different ones.
 */
#ifndef AMPHION_SCHED_SCX_PLACEMENT_H
#define AMPHION_SCHED_SCX_PLACEMENT_H

#include "sched/scx/decide.h"
#include "sched/scx/queue.h"

#define CHOSEN_CPU(choice) ((u32)(choice) & 0xffff)
#define CHOSEN_FREE (1 << 16)           /* no sibling is ready there */
#define CHOSEN_BESIDE_SIBLING (1 << 17) /* where it was, one is */

/* CPUs where a sibling is ready; scratch of the CPU that chooses, which is not preempted meanwhile. */
static u64 taken_at[SBCO_MAX_CPUS][SBCO_MAX_CPUS / 64];

static inline u64 *taken_word(u32 chooser, u32 cpu)
{
	return &taken_at[masked(chooser, SBCO_MAX_CPUS)][masked(cpu / 64, SBCO_MAX_CPUS / 64)];
}

/* SCHED_DISPATCH: siblings on different CPUs while there are enough; the shortest queue of those, its own if that is one. */
__noinline u32 choose_cpu(struct task_struct *p __arg_trusted, u32 id, u32 own)
{
	u32 index = task_at(id)->vm, here = bpf_get_smp_processor_id(), i, cpu, best = NONE, best_free = NONE, beside = 0;

	for (i = zero; i < SBCO_MAX_CPUS / 64 && can_loop; i++)
		*taken_word(here, i * 64) = 0;
	for (i = zero; index != NONE && i < SBCO_MAX_VCPUS && can_loop; i++) {
		u32 sibling = *member_at(index, i);
		u64 place = place_of(sibling), life = sbco_place_life(place);

		if (sibling != NONE && sibling != id && (life == SBCO_QUEUED || life == SBCO_RUNNING))
			*taken_word(here, sbco_place_cpu(place)) |= 1ULL << (place & 63);
	}
	if (*taken_word(here, own) >> (own & 63) & 1)
		beside = CHOSEN_BESIDE_SIBLING;
	for (i = zero; i < cpu_count && can_loop; i++) {
		cpu = own + i < cpu_count ? own + i : own + i - cpu_count;
		if (!cpu_at(cpu)->online || !bpf_cpumask_test_cpu(cpu, p->cpus_ptr))
			continue;
		if (best == NONE || length_of(cpu) < length_of(best))
			best = cpu;
		if (*taken_word(here, cpu) >> (cpu & 63) & 1)
			continue;
		if (best_free == NONE || length_of(cpu) < length_of(best_free))
			best_free = cpu;
	}
	if (best_free != NONE)
		return CHOSEN_CPU(best_free) | CHOSEN_FREE | beside;
	return CHOSEN_CPU(best != NONE ? best : own) | beside;
}

/* Under the lock of the CPU's queue: nobody can come there meanwhile. */
static __noinline bool sibling_at(u32 id, u32 cpu)
{
	u32 index = task_at(id)->vm, i;

	if (index == NONE)
		return false;
	for (i = zero; i < SBCO_MAX_VCPUS && can_loop; i++) {
		u32 sibling = *member_at(index, i);
		u64 place = place_of(sibling), life = sbco_place_life(place);

		if (sibling != NONE && sibling != id && sbco_place_cpu(place) == cpu &&
		    (life == SBCO_QUEUED || life == SBCO_RUNNING))
			return true;
	}
	return false;
}

__noinline int is_beside_sibling(u32 id, u32 cpu)
{
	return sibling_at(id, cpu);
}

/* A task that is away goes into the CPU's queue, unless it would stand beside a sibling and `must` is false. */
__noinline int place_at(u32 id, u32 cpu, bool must, bool wakes)
{
	struct queue *queue = bpf_map_lookup_elem(&queues, &cpu);
	u64 now = bpf_ktime_get_ns(), grain = granularity_ns / GRAINS_IN_GRANULARITY;
	bool preempts = false, idle;
	u32 running;

	if (!queue)
		return false;
	bpf_spin_lock(&queue->lock);
	if (!must && sibling_at(id, cpu)) {
		bpf_spin_unlock(&queue->lock);
		return false;
	}
	bring_to(id, cpu);
	enter(queue, cpu, id);
	running = cpu_at(cpu)->running;
	idle = running == NONE;
	if (wakes && !idle && now > task_at(running)->started)
		preempts = task_at(id)->node.key + grain <
			   task_at(running)->node.key + vt_of(running, now - task_at(running)->started);
	bpf_spin_unlock(&queue->lock);
	if (idle || preempts)
		scx_bpf_kick_cpu(cpu, preempts ? SCX_KICK_PREEMPT : SCX_KICK_IDLE);
	return true;
}

static void place(struct task_struct *p, u32 id, u32 own, bool wakes)
{
	u32 before = sbco_place_cpu(place_of(id)), i;

	bpf_for(i, 0, TRIES) {
		u32 choice = choose_cpu(p, id, own), cpu = CHOSEN_CPU(choice);
		bool free = choice & CHOSEN_FREE, last = i + 1 == TRIES;

		if (!place_at(id, cpu, !free || last, wakes))
			continue;
		if (free && (choice & CHOSEN_BESIDE_SIBLING) && cpu != own)
			count()->stackings_avoided++;
		if (cpu != before)
			count()->moves++;
		if (free && last)
			count()->stacked += is_beside_sibling(id, cpu);
		return;
	}
}

/* A task that is away runs next on the CPU, unless it would stand beside a sibling. */
__noinline int claim(u32 id, u32 cpu, u64 now)
{
	struct queue *queue = bpf_map_lookup_elem(&queues, &cpu);
	struct sbco_decision *decision = decision_at(cpu);
	bool free;

	if (!queue)
		return false;
	bpf_spin_lock(&queue->lock);
	free = !sibling_at(id, cpu);
	if (free) {
		bring_to(id, cpu);
		publish_place(id, cpu, SBCO_RUNNING, 0);
		task_at(id)->started = now;
		cpu_at(cpu)->running = id;
		refresh_length(queue, cpu);
		decision->id = id;
		decision->pid = task_at(id)->pid;
		decision->slice_ns = granularity_ns;
		decision->lent = decision->joined = false;
	}
	bpf_spin_unlock(&queue->lock);
	return free;
}

/* For a CPU that has nothing to do: the last in the longest queue that does not stand beside a sibling then. */
__noinline u32 pull(u32 cpu, u64 now)
{
	u32 longest = cpu, i, id, found = NONE;
	struct queue *queue;

	for (i = zero; i < cpu_count && can_loop; i++) {
		if (i != cpu && length_of(i) > length_of(longest))
			longest = i;
	}
	if (longest == cpu || length_of(longest) < 2)
		return NONE;
	queue = bpf_map_lookup_elem(&queues, &longest);
	if (!queue)
		return NONE;
	bpf_spin_lock(&queue->lock);
	id = sbco_last(&queue->tree);
	for (i = zero; i < LOOKED_AT_FOR_OTHERS && id != NONE && can_loop; i++) {
		if (!task_at(id)->pinned && !sibling_at(id, cpu)) {
			found = id;
			break;
		}
		id = sbco_previous(id);
	}
	if (found != NONE) {
		leave(queue, longest, found);
		publish_place(found, longest, SBCO_AWAY, 0);
	}
	bpf_spin_unlock(&queue->lock);
	if (found == NONE)
		return NONE;
	if (!claim(found, cpu, now)) {
		place_at(found, longest, true, false);
		return NONE;
	}
	count()->pulled++;
	return found;
}

#endif
