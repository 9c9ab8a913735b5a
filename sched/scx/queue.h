/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * A CPU's fair queue: who stands in it, what it is charged, which ordinates others see. What is `static` is called under the
 * queue's lock; what is not takes it.
 */
#ifndef AMPHION_SCHED_SCX_QUEUE_H
#define AMPHION_SCHED_SCX_QUEUE_H

#include "sched/scx/state.h"

static inline void refresh_length(struct queue *queue, u32 cpu)
{
	*(volatile u32 *)&cpu_at(cpu)->length = queue->tree.size + (cpu_at(cpu)->running != NONE);
}

static inline u64 vt_of(u32 id, u64 ns)
{
	u32 weight = task_at(id)->weight;

	return ns * 100 / (weight ? weight : 1);
}

static __noinline void enter(struct queue *queue, u32 cpu, u32 id)
{
	sbco_insert(&queue->tree, id);
	task_at(id)->queued = 1;
	queue->weight += task_at(id)->weight;
	publish_place(id, cpu, SBCO_QUEUED, sbco_rank(id) + (cpu_at(cpu)->running != NONE));
	refresh_length(queue, cpu);
}

static __noinline void leave(struct queue *queue, u32 cpu, u32 id)
{
	if (queue->published_to == id)
		queue->published_to = sbco_next(id);
	sbco_erase(&queue->tree, id);
	task_at(id)->queued = 0;
	queue->weight -= task_at(id)->weight;
	refresh_length(queue, cpu);
}

static __noinline void set_key(struct queue *queue, u32 id, u64 key)
{
	u32 in_tree = task_at(id)->queued;

	if (in_tree) {
		if (queue->published_to == id)
			queue->published_to = sbco_next(id);
		sbco_erase(&queue->tree, id);
	}
	task_at(id)->node.key = key;
	if (in_tree)
		sbco_insert(&queue->tree, id);
}

/* A task that runs used its CPU up to now. */
static __noinline void charge(u32 cpu, u32 id, u64 now)
{
	struct sbco_task *task = task_at(id);
	u64 most = cpu_at(cpu)->minimum_vt + MOST_BEHIND_LATENCIES * latency_ns;
	u64 key = task->node.key;

	if (now > task->started) {
		u64 ran_vt = vt_of(id, now - task->started);

		key += ran_vt;
		task->ran_vt += ran_vt;
		task->started = now;
	}
	if (key > most)
		key = task->node.key > most ? task->node.key : most;
	task->node.key = key;
}

/* Ordinates of all if the queue is short; of the next 16 at each decision if it is long. */
static __noinline void publish(struct queue *queue, u32 cpu)
{
	u32 id = queue->tree.size <= PUBLISHED_AT_ONCE ? NONE : queue->published_to;
	u32 at, i;

	if (id == NONE)
		id = queue->tree.first;
	if (id == NONE)
		return;
	at = sbco_rank(id) + (cpu_at(cpu)->running != NONE);
	for (i = zero; i < PUBLISHED_AT_ONCE && id != NONE && can_loop; i++) {
		if (task_at(id)->vm != NONE)
			publish_place(id, cpu, SBCO_QUEUED, at + i);
		id = sbco_next(id);
	}
	queue->published_to = id;
}

/* What a turn costs, whatever the weight. */
static __noinline u64 turn_vt_of(struct queue *queue, u32 length, u32 others_weight)
{
	u64 all = queue->weight + others_weight;

	return sbco_period(length, latency_ns, granularity_ns) * 100 / (all ? all : 1);
}

/* Virtual time as a slice for the kernel. */
static __noinline u64 slice_ns(u32 id, u64 vt)
{
	u64 slice = vt * task_at(id)->weight / 100, least = granularity_ns / GRAINS_IN_GRANULARITY;

	return slice < least ? least : slice;
}

/* Out of its queue, if it is in one, and owned by the caller until it is placed again. */
__noinline int take_out(u32 id, bool only_queued, u32 life)
{
	u32 i;

	for (i = zero; i < TRIES && can_loop; i++) {
		u32 cpu = sbco_place_cpu(place_of(id));
		struct queue *queue = bpf_map_lookup_elem(&queues, &cpu);
		bool here;

		if (!queue)
			return 0;
		bpf_spin_lock(&queue->lock);
		here = sbco_place_cpu(place_of(id)) == cpu;
		if (here && (task_at(id)->queued || !only_queued)) {
			if (task_at(id)->queued)
				leave(queue, cpu, id);
			if (cpu_at(cpu)->running == id)
				cpu_at(cpu)->running = NONE;
			publish_place(id, cpu, life, 0);
			refresh_length(queue, cpu);
		}
		bpf_spin_unlock(&queue->lock);
		if (here)
			return 0;
	}
	return 0;
}

/* Virtual time travels relative to what the queue has reached; sleepers are put no further back than half a latency. */
static __noinline void bring_to(u32 id, u32 cpu)
{
	u32 from = sbco_place_cpu(place_of(id));
	u64 reached = cpu_at(cpu)->minimum_vt, earliest = reached - latency_ns / 2;
	u64 key = task_at(id)->node.key;

	if (from != cpu)
		key += reached - cpu_at(from)->minimum_vt;
	if (task_at(id)->debt == SBCO_BORROWED) /* it is due to it still */
		earliest -= task_at(id)->debt_vt;
	if ((s64)(key - earliest) < 0)
		key = earliest;
	task_at(id)->node.key = key;
}

#endif
