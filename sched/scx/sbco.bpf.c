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
#include "sched/scx/debt.h"
#include "sched/scx/decide.h"
#include "sched/scx/placement.h"
#include "sched/scx/queue.h"
#include "sched/scx/vm.h"

char _license[] SEC("license") = "Dual MIT/GPL";

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
		count()->joined += decision->joined;
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
