/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Joining: who goes first of a queue so that it runs beside a sibling, for BPF and for its test on the PC.
 *
 * Who includes this has included tree_code.h, and defines SBCO_WOULD_JOIN(id, cpu), whether it is a vCPU that may and has a
 * sibling to run beside, and SBCO_ZERO, which is 0 and not known to the verifier, so that it looks at the loop once.
 * Thread safety: as the tree's.
 */
#ifndef AMPHION_SCHED_SCX_JOIN_CODE_H
#define AMPHION_SCHED_SCX_JOIN_CODE_H

#include "sched/core/decision.h"
#include "sched/scx/tree_code.h"

/* Among those about equal to `first_vt`, which no key is less than, the first that would join; none: nobody. */
SBCO_FUNCTION unsigned int sbco_joiner(struct sbco_tree *tree, unsigned long long first_vt, unsigned long long turn_vt,
				       unsigned int cpu)
{
	unsigned int id = tree->first, i;

	for (i = SBCO_ZERO; i < SBCO_JOINING_LOOKED_AT && id != SBCO_NONE && SBCO_CAN_LOOP; i++) {
		if (!sbco_may_join(SBCO_NODE(id)->key - first_vt, turn_vt))
			return SBCO_NONE;
		if (SBCO_WOULD_JOIN(id, cpu))
			return id;
		id = sbco_next(id);
	}
	return SBCO_NONE;
}

#endif
