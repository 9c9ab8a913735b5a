/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What the scheduler in the kernel and its loader share: limits, counters, and one vCPU as statistics show it.
 */
#ifndef AMPHION_SCHED_SCX_SHARED_H
#define AMPHION_SCHED_SCX_SHARED_H

#define SBCO_NONE 0xffffffffu

struct sbco_node {
	unsigned long long key; /* virtual run time */
	unsigned int parent;
	unsigned int left;
	unsigned int right;
	unsigned int left_count; /* the RB index */
	unsigned int red;
};

struct sbco_tree {
	unsigned int root;
	unsigned int first;
	unsigned int size;
};

#define SBCO_MAX_CPUS 512
#define SBCO_MAX_TASKS 32768 /* a power of two; tasks beyond it wait in the kernel's global queue */
#define SBCO_MAX_VMS 1024    /* a power of two */
#define SBCO_MAX_VCPUS 64    /* of one VM; what is beyond it is scheduled as an ordinary task */

#define SBCO_REASON_BYTES 192

/* Of one CPU; the loader adds them up. */
struct sbco_counters {
	unsigned long long decisions;
	unsigned long long switches;          /* turns that began after another task's */
	unsigned long long far;               /* a sibling was too far behind: one debt each */
	unsigned long long successors;        /* ... and the successor ran instead */
	unsigned long long joined;            /* a vCPU went first, beside a sibling that runs */
	unsigned long long debts_applied;
	unsigned long long debts_void;        /* the vCPU ended before its debt was applied */
	unsigned long long stackings_avoided; /* moved away from a sibling */
	unsigned long long stacked;           /* queued beside a sibling although a CPU was free: must stay 0 */
	unsigned long long moves;             /* queued on another CPU than before */
	unsigned long long pulled;            /* taken by a CPU that had nothing to do */
	unsigned long long returned;          /* taken by a CPU where it must not run, and given back */
	unsigned long long overflow;          /* no number was left for a task */
	unsigned long long vcpus;             /* found */
};

enum sbco_life { SBCO_ASLEEP, SBCO_QUEUED, SBCO_RUNNING, SBCO_AWAY };

/* Where a task is, in one word that is read at once: its CPU, its life, and its ordinate (the turns before its own; old by
 * at most one decision of its CPU if the queue is short). */
static inline unsigned long long sbco_place(unsigned long long cpu, unsigned long long life, unsigned long long ordinate)
{
	return cpu | life << 16 | ordinate << 32;
}
static inline unsigned int sbco_place_cpu(unsigned long long place) { return place & 0xffff; }
static inline unsigned int sbco_place_life(unsigned long long place) { return place >> 16 & 0xffff; }
static inline unsigned long long sbco_place_ordinate(unsigned long long place) { return place >> 32; }

/*
 * The dirty tag, as in core/entity.hpp. Others change it from clean to owed, and own debt_vt and debt_link until the debt is
 * applied; whoever holds the lock of the task's queue does the rest. Dead: its task has ended.
 */
enum sbco_debt { SBCO_CLEAN, SBCO_LENT, SBCO_OWED, SBCO_BORROWED, SBCO_DEAD };

/*
 * One task. Its key, `queued` and place are changed under the lock of the queue of the CPU in `place`, or, while it is
 * SBCO_AWAY, by whoever has made it so; everyone reads `place`.
 */
struct sbco_task {
	struct sbco_node node;
	unsigned long long place;
	unsigned long long started; /* ns; charged up to here while it runs */
	unsigned long long debt_vt;
	unsigned long long ran_vt; /* since it has borrowed */
	unsigned int debt;
	unsigned int debt_link;
	unsigned int pid;
	unsigned int tgid;
	unsigned int vm; /* SBCO_NONE: no vCPU */
	unsigned int slot;
	unsigned int weight; /* 100: nice 0 */
	unsigned int queued;
	unsigned int yielded;
	unsigned int pinned; /* to one CPU */
};

struct sbco_vm {
	unsigned int count; /* vCPUs; 0: nobody's */
	unsigned int tgid;
	unsigned long long taken;           /* a bit for each member */
	unsigned int members[SBCO_MAX_VCPUS]; /* tasks, or SBCO_NONE */
};

/* What everyone may read of a CPU. */
struct sbco_cpu {
	unsigned long long minimum_vt; /* what its queue has reached; never goes back */
	unsigned long long turn_vt;    /* what a turn costs there, whatever the weight */
	unsigned int length;           /* ready tasks, the running one counted */
	unsigned int running;          /* or about to run */
	unsigned int debts;            /* a list through debt_link */
	unsigned int ran_last;
	unsigned int online;
} __attribute__((aligned(64)));

struct sbco_decision {
	unsigned int id; /* SBCO_NONE: nothing is ready */
	unsigned int pid;
	unsigned long long slice_ns;
	unsigned int lent;
	unsigned int joined;
};

struct sbco_ending {
	int kind;
	char reason[SBCO_REASON_BYTES];
	char message[SBCO_REASON_BYTES];
};

#endif
