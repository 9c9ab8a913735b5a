// SPDX-License-Identifier: GPL-2.0-only
/*
 * A hostile guest's module: makes every management hypercall from inside a phone instance, and a few that do not exist,
 * and prints what came back. Loading it fails on purpose (-ECANCELED), so that it can be loaded again.
 * Used by tests/e2e; never part of an image.
 */
#include <linux/arm-smccc.h>
#include <linux/module.h>

#include "amphion_hypercall.h"

#define LAST_FUNCTION 0x12

static int __init probe_init(void)
{
	struct arm_smccc_res res;
	int denied = 0, n;

	for (n = 0; n <= LAST_FUNCTION; n++) {
		arm_smccc_1_1_hvc(AMPHION_HC(n), 1, 0, 0, &res);
		if ((int)res.a0 == AMPHION_EDENIED)
			denied++;
		else
			pr_info("probe: hypercall %d answered %d\n", n, (int)res.a0);
	}
	arm_smccc_1_1_hvc(AMPHION_HC(0xffff), 1, 0, 0, &res);
	pr_info("probe: %d of %d denied, unknown answered %d\n", denied, LAST_FUNCTION + 1, (int)res.a0);
	return -ECANCELED;
}
module_init(probe_init);

MODULE_DESCRIPTION("Amphion test: forbidden hypercalls");
MODULE_LICENSE("GPL");
