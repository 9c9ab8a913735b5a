/* SPDX-License-Identifier: Apache-2.0 */
/* decision.h as C sees it. */
#include <stdbool.h>

#include "sched/core/decision.h"

unsigned int c_threshold(unsigned int length, unsigned int alpha);
bool c_far(unsigned int ordinate, unsigned int sibling_ordinate, unsigned int threshold);
unsigned long long c_period(unsigned int length, unsigned long long latency, unsigned long long granularity);
bool c_may_join(unsigned long long ahead_vt, unsigned long long turn_vt);
unsigned long long c_joined_turn(unsigned long long ahead_vt, unsigned long long turn_vt);

unsigned int c_threshold(unsigned int length, unsigned int alpha) { return sbco_threshold(length, alpha); }

bool c_far(unsigned int ordinate, unsigned int sibling_ordinate, unsigned int threshold)
{
	return sbco_far(ordinate, sibling_ordinate, threshold);
}

unsigned long long c_period(unsigned int length, unsigned long long latency, unsigned long long granularity)
{
	return sbco_period(length, latency, granularity);
}

bool c_may_join(unsigned long long ahead_vt, unsigned long long turn_vt) { return sbco_may_join(ahead_vt, turn_vt); }

unsigned long long c_joined_turn(unsigned long long ahead_vt, unsigned long long turn_vt)
{
	return sbco_joined_turn(ahead_vt, turn_vt);
}
