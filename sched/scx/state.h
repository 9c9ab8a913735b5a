/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What the scheduler keeps: tasks, VMs, CPUs and their queues, and how they are reached by number.
 */
#ifndef AMPHION_SCHED_SCX_STATE_H
#define AMPHION_SCHED_SCX_STATE_H

#include "sched/scx/kernel.h"
#include "sched/core/decision.h"
#include "sched/scx/shared.h"

/* The last task is nobody's: a number that leads nowhere leads there. */
struct sbco_task tasks[SBCO_MAX_TASKS];

/* An index that the compiler cannot trace back, so that the mask stays where the verifier wants to see it. */
static inline u64 masked(u64 index, u64 size)
{
	index &= size - 1;
	asm volatile("" : "+r"(index));
	return index;
}

static inline struct sbco_task *task_at(u32 id) { return &tasks[masked(id, SBCO_MAX_TASKS)]; }

#define SBCO_NODE(id) (&task_at(id)->node)
#define SBCO_CAN_LOOP can_loop
#include "sched/scx/tree_code.h"
#define NONE SBCO_NONE

const volatile u64 latency_ns = 24000000;    /* S_latency */
const volatile u64 granularity_ns = 3000000; /* S_min */
const volatile u32 threshold = SBCO_THRESHOLD_DEFAULT;

#define FIRST_VT (1ULL << 40) /* room below for debts */
#define MOST_BEHIND_LATENCIES 4 /* nobody waits longer for what one long turn took */
#define GRAINS_IN_GRANULARITY 4 /* who wakes takes over if it is behind by one of them */
#define PUBLISHED_AT_ONCE 16
#define LOOKED_AT_FOR_OTHERS 8
#define TRIES 4

struct sbco_counters counters[SBCO_MAX_CPUS];
struct sbco_ending ending;

struct sbco_vm vms[SBCO_MAX_VMS];
struct sbco_cpu cpus[SBCO_MAX_CPUS];
struct sbco_decision decisions[SBCO_MAX_CPUS]; /* the last of each CPU, its own */
u32 cpu_count;

volatile u32 zero; /* a loop that begins with what the verifier does not know is verified once, not once a round */

struct queue {
	struct bpf_spin_lock lock;
	struct sbco_tree tree;
	u32 published_to; /* the task at which the next publication goes on */
	u64 weight;       /* sum of the tree's */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SBCO_MAX_CPUS);
	__type(key, u32);
	__type(value, struct queue);
} queues SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, u32);
} ids SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, SBCO_MAX_TASKS);
	__type(value, u32);
} free_ids SEC(".maps"), free_vms SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SBCO_MAX_VMS);
	__type(key, u32); /* tgid */
	__type(value, u32);
} vm_of SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} endings SEC(".maps");

static inline struct sbco_cpu *cpu_at(u32 cpu) { return &cpus[masked(cpu, SBCO_MAX_CPUS)]; }
static inline struct sbco_vm *vm_at(u32 vm) { return &vms[masked(vm, SBCO_MAX_VMS)]; }
static inline struct sbco_counters *count(void) { return &counters[masked(bpf_get_smp_processor_id(), SBCO_MAX_CPUS)]; }
static inline u32 *member_at(u32 vm, u32 slot) { return &vm_at(vm)->members[masked(slot, SBCO_MAX_VCPUS)]; }
static inline u64 place_of(u32 id) { return *(volatile u64 *)&task_at(id)->place; }
static inline u32 length_of(u32 cpu) { return *(volatile u32 *)&cpu_at(cpu)->length; }

static inline void publish_place(u32 id, u32 cpu, u32 life, u32 ordinate)
{
	*(volatile u64 *)&task_at(id)->place = sbco_place(cpu, life, ordinate);
}

static u32 id_of(struct task_struct *p)
{
	u32 *id = bpf_task_storage_get(&ids, p, 0, 0);

	return id ? *id : NONE;
}

#endif
