/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * SBCO's verdicts: integers in, verdict out. C and C++ and BPF share them, so that the hypervisor, the simulator and
 * the scheduler for Linux hosts decide alike. Source: K. Wang, Building Computing-as-a-Service Mobile Cloud System
 * (Wayne State University, 2015), chapter 4; what the text leaves open is decided in docs/scheduling.md.
 *
 * Ordinate of a vCPU: the number of turns on its CPU before its own; 0 for the one that runs, or is about to.
 * Virtual time (`_vt`): ticks of run time divided by weight.
 */
#ifndef AMPHION_SCHED_DECISION_H
#define AMPHION_SCHED_DECISION_H

#ifdef __cplusplus
#define SBCO_INLINE constexpr
#else
#define SBCO_INLINE static inline
#endif

#define SBCO_THRESHOLD_ONE 1024u    /* alpha = 1: siblings are never too far apart */
#define SBCO_THRESHOLD_DEFAULT 683u /* alpha = 2/3 */

/* The distance at which siblings are too far apart, in turns: alpha * queue length, rounded up, at least 1.
 * `alpha` in SBCO_THRESHOLD_ONE-ths; `length` counts the running vCPU, at most 2^20. */
SBCO_INLINE unsigned int sbco_threshold(unsigned int length, unsigned int alpha)
{
	unsigned int threshold = (length * alpha + SBCO_THRESHOLD_ONE - 1) / SBCO_THRESHOLD_ONE;

	return threshold < 1 ? 1 : threshold;
}

/* Whether vCPUs at these ordinates are too far apart. */
SBCO_INLINE bool sbco_far(unsigned int ordinate, unsigned int sibling_ordinate, unsigned int threshold)
{
	unsigned int distance = ordinate > sibling_ordinate ? ordinate - sibling_ordinate : sibling_ordinate - ordinate;

	return distance >= threshold;
}

/* How long a round lasts, T_p, in ticks: the latency target while each turn is at least the granularity, else as many
 * granularities as vCPUs. `length` at most 2^20. */
SBCO_INLINE unsigned long long sbco_period(unsigned int length, unsigned long long latency,
					   unsigned long long granularity)
{
	return length * granularity <= latency ? latency : length * granularity;
}

#define SBCO_JOINING_LENGTH 3    /* of the shortest queue: with two, mostly, one has just run and the other's turn has come */
#define SBCO_JOINING_LOOKED_AT 8 /* of the queue's first */

/* Whether a vCPU that is so far ahead of the first of its queue may go first to run beside a sibling. */
SBCO_INLINE bool sbco_may_join(unsigned long long ahead_vt, unsigned long long turn_vt)
{
	return ahead_vt <= turn_vt / 2;
}

/* What its turn then may cost: it ends two thirds of a turn ahead, so that siblings that go first on every CPU at once do
 * not carry their instance further ahead than turns do that fall where they may. */
SBCO_INLINE unsigned long long sbco_joined_turn(unsigned long long ahead_vt, unsigned long long turn_vt)
{
	return turn_vt - turn_vt / 3 - ahead_vt;
}

#endif
