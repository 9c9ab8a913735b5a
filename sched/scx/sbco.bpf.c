/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * SBCO as a sched_ext scheduler for Linux hosts. See README.md for the policy and what is decided where.
 *
 * Every CPU has a fair queue of all its tasks: a tree by virtual run time that carries the RB index. vCPUs of a VM are
 * found by their threads' names; for them alone dispatch, distance and debt are added (sched/core/decision.h).
 *
 * Thread safety: a queue is changed under its own lock, and nobody holds two. What other CPUs want to know stands in
 * words that are read without it: a task's place, a queue's length. What one CPU wants of another's vCPU is left as a
 * debt in that CPU's box, and applied there.
 */
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

char _license[] SEC("license") = "Dual MIT/GPL";

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

/* ---- under the queue's lock */

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

static __noinline u64 turn_ns(struct queue *queue, u32 length, u32 id, u32 others_weight)
{
	u64 weight = task_at(id)->weight, all = queue->weight + others_weight;
	u64 turn = sbco_period(length, latency_ns, granularity_ns) * weight / (all ? all : 1);
	u64 least = granularity_ns / GRAINS_IN_GRANULARITY;

	return turn < least ? least : turn;
}

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

static inline struct sbco_decision *decision_at(u32 cpu) { return &decisions[masked(cpu, SBCO_MAX_CPUS)]; }

/* The scheduling point. `prev` is ready and runs, or is NONE. Whoever goes next is out of the tree when it returns. */
static void decide_locked(struct queue *queue, u32 cpu, u32 prev, u64 now)
{
	struct sbco_decision *decision = decision_at(cpu);
	struct sbco_tree *tree = &queue->tree;
	u32 first = tree->first, candidate, successor, chosen;
	u32 length = tree->size + (prev != NONE), prev_weight = prev != NONE ? task_at(prev)->weight : 0;
	bool stays = prev != NONE && !task_at(prev)->yielded;
	u64 least;

	decision->id = NONE;
	decision->lent = false;
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
	chosen = candidate;
	cpu_at(cpu)->turn_vt = vt_of(candidate, turn_ns(queue, length, candidate, prev_weight));
	if (successor != NONE && task_at(candidate)->vm != NONE && lends(queue, cpu, candidate, length)) {
		chosen = successor;
		decision->lent = true;
	}
	decision->slice_ns = turn_ns(queue, length, chosen, prev_weight);
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

/* ---- locks */

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

/* ---- vCPUs and VMs */

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

/* ---- placement */

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
		decision->lent = false;
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

/* ---- the operations */

s32 OPERATION(sbco_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	u32 id = id_of(p);
	bool idle = false;
	s32 cpu;

	if (id != NONE)
		recognise(p, id);
	if (id != NONE && task_at(id)->vm != NONE)
		return CHOSEN_CPU(choose_cpu(p, id, prev_cpu));
	cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &idle);
	if (idle)
		hand_to_kernel(p, SCX_DSQ_LOCAL, granularity_ns, 0);
	return cpu;
}

void OPERATION(sbco_enqueue, struct task_struct *p, u64 flags)
{
	u32 id = id_of(p), cpu = scx_bpf_task_cpu(p);

	if (id == NONE) {
		count()->overflow++;
		hand_to_kernel(p, SCX_DSQ_GLOBAL, granularity_ns, flags);
		return;
	}
	if ((p->flags & PF_KTHREAD) && p->nr_cpus_allowed == 1) {
		hand_to_kernel(p, SCX_DSQ_LOCAL, granularity_ns, flags | SCX_ENQ_PREEMPT);
		return;
	}
	take_out(id, false, SBCO_AWAY);
	task_at(id)->weight = p->scx.weight;
	task_at(id)->pinned = p->nr_cpus_allowed == 1;
	recognise(p, id);
	place(p, id, cpu, flags & SCX_ENQ_WAKEUP);
	if (task_at(id)->debt == SBCO_OWED) /* the box of a CPU that sleeps is opened by who comes from there */
		take_debts(cpu);
}

void OPERATION(sbco_dequeue, struct task_struct *p, u64 flags)
{
	u32 id = id_of(p);

	if (id != NONE)
		take_out(id, true, SBCO_ASLEEP);
}

/* Whether the kernel would let it run here; to be wrong would end the scheduler. */
static bool may_run_here(struct task_struct *p, s32 cpu)
{
	return bpf_cpumask_test_cpu(cpu, p->cpus_ptr) && (!p->migration_disabled || scx_bpf_task_cpu(p) == cpu);
}

void OPERATION(sbco_dispatch, s32 cpu, struct task_struct *prev)
{
	struct sbco_decision *decision = decision_at(cpu);
	u64 now = bpf_ktime_get_ns();
	u32 prev_id = NONE, i;

	take_debts(cpu);
	if (prev && (prev->scx.flags & SCX_TASK_QUEUED)) {
		prev_id = id_of(prev);
		if (prev_id != NONE && place_of(prev_id) != sbco_place(cpu, SBCO_RUNNING, 0))
			prev_id = NONE;
	}
	bpf_for(i, 0, TRIES) {
		struct task_struct *p;
		u32 id;

		decide(cpu, prev_id, now);
		if (decision->id == NONE && (prev_id != NONE || pull(cpu, now) == NONE))
			return;
		id = decision->id;
		count()->decisions++;
		if (decision->lent) {
			count()->far++;
			count()->successors++;
		}
		if (id == prev_id && prev) {
			set_slice(prev, decision->slice_ns);
			return;
		}
		p = bpf_task_from_pid(decision->pid);
		if (!p)
			continue;
		if (may_run_here(p, cpu)) {
			hand_to_kernel(p, SCX_DSQ_LOCAL, decision->slice_ns, 0);
			bpf_task_release(p);
			return;
		}
		count()->returned++;
		take_out(id, false, SBCO_AWAY);
		place_at(id, scx_bpf_task_cpu(p), true, false);
		bpf_task_release(p);
	}
}

__noinline int begins(u32 id, u32 cpu)
{
	struct queue *queue = bpf_map_lookup_elem(&queues, &cpu);
	u64 now = bpf_ktime_get_ns(), running = sbco_place(cpu, SBCO_RUNNING, 0);

	if (!queue)
		return 0;
	bpf_spin_lock(&queue->lock);
	if (place_of(id) != running)
		bring_to(id, cpu);
	publish_place(id, cpu, SBCO_RUNNING, 0);
	task_at(id)->started = now;
	cpu_at(cpu)->running = id;
	refresh_length(queue, cpu);
	bpf_spin_unlock(&queue->lock);
	return 0;
}

void OPERATION(sbco_running, struct task_struct *p)
{
	u32 id = id_of(p), cpu = scx_bpf_task_cpu(p);

	if (id == NONE)
		return;
	if (place_of(id) != sbco_place(cpu, SBCO_RUNNING, 0)) /* the kernel has put it here by itself */
		take_out(id, false, SBCO_AWAY);
	begins(id, cpu);
	if (cpu_at(cpu)->ran_last != id) {
		cpu_at(cpu)->ran_last = id;
		count()->switches++;
	}
}

__noinline int ends(u32 id, u32 cpu, bool runnable)
{
	struct queue *queue = bpf_map_lookup_elem(&queues, &cpu);
	u64 now = bpf_ktime_get_ns();

	if (!queue)
		return 0;
	bpf_spin_lock(&queue->lock);
	if (place_of(id) == sbco_place(cpu, SBCO_RUNNING, 0)) {
		charge(cpu, id, now);
		if (!runnable)
			publish_place(id, cpu, SBCO_ASLEEP, 0);
	}
	if (cpu_at(cpu)->running == id)
		cpu_at(cpu)->running = NONE;
	refresh_length(queue, cpu);
	bpf_spin_unlock(&queue->lock);
	return 0;
}

void OPERATION(sbco_stopping, struct task_struct *p, bool runnable)
{
	u32 id = id_of(p);

	if (id != NONE)
		ends(id, scx_bpf_task_cpu(p), runnable);
}

void OPERATION(sbco_quiescent, struct task_struct *p, u64 flags)
{
	u32 id = id_of(p);

	if (id != NONE && sbco_place_life(place_of(id)) != SBCO_ASLEEP)
		take_out(id, false, SBCO_ASLEEP);
}

bool OPERATION(sbco_yield, struct task_struct *from, struct task_struct *to)
{
	u32 id = id_of(from);

	if (to)
		return false;
	if (id != NONE)
		task_at(id)->yielded = 1;
	set_slice(from, 0);
	return true;
}

s32 SLEEPABLE_OPERATION(sbco_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	u32 *known = bpf_task_storage_get(&ids, p, 0, BPF_LOCAL_STORAGE_GET_F_CREATE), id;
	struct sbco_task *task;

	if (!known)
		return -12; /* ENOMEM */
	if (bpf_map_pop_elem(&free_ids, &id)) {
		*known = NONE;
		return 0;
	}
	task = task_at(id);
	task->node.key = FIRST_VT;
	task->started = 0;
	task->debt = SBCO_CLEAN;
	task->pid = p->pid;
	task->tgid = p->tgid;
	task->vm = NONE;
	task->weight = p->scx.weight;
	task->queued = 0;
	task->yielded = 0;
	task->pinned = 0;
	publish_place(id, scx_bpf_task_cpu(p), SBCO_ASLEEP, 0);
	*known = id;
	return 0;
}

void OPERATION(sbco_exit_task, struct task_struct *p, struct scx_exit_task_args *args)
{
	u32 id = id_of(p), index;

	if (id == NONE)
		return;
	take_out(id, false, SBCO_ASLEEP);
	if (task_at(id)->debt == SBCO_OWED)
		take_debts(sbco_place_cpu(place_of(id)));
	index = task_at(id)->vm;
	if (index != NONE) {
		task_at(id)->vm = NONE;
		*member_at(index, task_at(id)->slot) = NONE;
		__sync_fetch_and_and(&vm_at(index)->taken, ~(1ULL << (task_at(id)->slot & 63)));
		leave_vm(index);
	}
	/* A debt that is still on its way brings the number back. */
	if (__sync_lock_test_and_set(&task_at(id)->debt, SBCO_DEAD) != SBCO_OWED)
		bpf_map_push_elem(&free_ids, &id, 0);
}

s32 SLEEPABLE_OPERATION(sbco_init)
{
	const struct cpumask *online;
	u32 i, j;

	cpu_count = scx_bpf_nr_cpu_ids();
	if (cpu_count > SBCO_MAX_CPUS)
		return -7; /* E2BIG */
	online = scx_bpf_get_online_cpumask();
	bpf_for(i, 0, SBCO_MAX_CPUS) {
		u32 cpu = i;
		struct queue *queue = bpf_map_lookup_elem(&queues, &cpu);

		if (!queue)
			break;
		queue->tree.root = queue->tree.first = queue->published_to = NONE;
		cpu_at(i)->minimum_vt = FIRST_VT;
		cpu_at(i)->running = cpu_at(i)->debts = cpu_at(i)->ran_last = NONE;
		cpu_at(i)->online = i < cpu_count && bpf_cpumask_test_cpu(i, online);
	}
	scx_bpf_put_cpumask(online);
	bpf_for(i, 0, SBCO_MAX_TASKS - 1) {
		u32 id = i;

		bpf_map_push_elem(&free_ids, &id, 0);
	}
	bpf_for(i, 0, SBCO_MAX_VMS) {
		u32 index = i;

		bpf_for(j, 0, SBCO_MAX_VCPUS) *member_at(i, j) = NONE;
		bpf_map_push_elem(&free_vms, &index, 0);
	}
	return 0;
}

void OPERATION(sbco_exit, struct scx_exit_info *info)
{
	ending.kind = info->kind;
	bpf_probe_read_kernel_str(ending.reason, sizeof(ending.reason), info->reason);
	bpf_probe_read_kernel_str(ending.message, sizeof(ending.message), info->msg);
	bpf_ringbuf_output(&endings, &ending, sizeof(ending), 0);
}

SEC(".struct_ops.link")
struct sched_ext_ops sbco = {
	.select_cpu = (void *)sbco_select_cpu,
	.enqueue = (void *)sbco_enqueue,
	.dequeue = (void *)sbco_dequeue,
	.dispatch = (void *)sbco_dispatch,
	.running = (void *)sbco_running,
	.stopping = (void *)sbco_stopping,
	.quiescent = (void *)sbco_quiescent,
	.yield = (void *)sbco_yield,
	.init_task = (void *)sbco_init_task,
	.exit_task = (void *)sbco_exit_task,
	.init = (void *)sbco_init,
	.exit = (void *)sbco_exit,
	.timeout_ms = 10000,
	.name = "sbco",
};
