// SPDX-License-Identifier: GPL-2.0-only
/*
 * See sched.h. Each call has a page of its own: nothing is shared.
 */
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "hypercall.h"
#include "sched.h"

static bool amphion_sched_period_valid(u32 us)
{
	return us >= AMPHION_SCHED_SHORTEST_US && us <= AMPHION_SCHED_LONGEST_US;
}

/* What cannot be set must be 0, so that it may be given a meaning. */
static bool amphion_sched_valid(const struct amphion_sched *wanted)
{
	return wanted->policy <= AMPHION_SCHED_SBCO &&
	       wanted->threshold <= AMPHION_SCHED_THRESHOLD_ONE &&
	       amphion_sched_period_valid(wanted->latency_us) &&
	       amphion_sched_period_valid(wanted->granularity_us) && wanted->hand_over <= 1 &&
	       !memchr_inv(&wanted->cpus, 0, sizeof(*wanted) - offsetof(struct amphion_sched, cpus));
}

long amphion_sched_get(struct amphion_sched __user *user)
{
	void *page = (void *)get_zeroed_page(GFP_KERNEL);
	long err;

	if (!page)
		return -ENOMEM;
	err = amphion_call(AMPHION_HC_SCHED, virt_to_phys(page), 0, 0);
	if (!err && copy_to_user(user, page, sizeof(*user)))
		err = -EFAULT;
	free_page((unsigned long)page);
	return err;
}

long amphion_sched_set(const struct amphion_sched __user *user)
{
	struct amphion_sched *wanted = (void *)get_zeroed_page(GFP_KERNEL);
	long err = -EFAULT;

	if (!wanted)
		return -ENOMEM;
	if (!copy_from_user(wanted, user, sizeof(*wanted)))
		err = amphion_sched_valid(wanted) ?
			      amphion_call(AMPHION_HC_SCHED, virt_to_phys(wanted), 1, 0) :
			      -EINVAL;
	free_page((unsigned long)wanted);
	return err;
}
