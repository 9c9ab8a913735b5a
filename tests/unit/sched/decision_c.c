/* SPDX-License-Identifier: Apache-2.0 */
/* decision.h as C sees it. */
#include <stdbool.h>

#include "sched/core/decision.h"

unsigned int c_threshold(unsigned int length, unsigned int alpha);
bool c_far(unsigned int ordinate, unsigned int sibling_ordinate, unsigned int threshold);
unsigned long long c_period(unsigned int length, unsigned long long latency, unsigned long long granularity);

unsigned int c_threshold(unsigned int length, unsigned int alpha) { return sbco_threshold(length, alpha); }

bool c_far(unsigned int ordinate, unsigned int sibling_ordinate, unsigned int threshold)
{
	return sbco_far(ordinate, sibling_ordinate, threshold);
}

unsigned long long c_period(unsigned int length, unsigned long long latency, unsigned long long granularity)
{
	return sbco_period(length, latency, granularity);
}
