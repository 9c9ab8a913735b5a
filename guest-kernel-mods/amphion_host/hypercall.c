// SPDX-License-Identifier: GPL-2.0-only
/*
 * Calls to the hypervisor: HVC with the function in r0 (amphion_hypercall.h).
 */
#include <linux/arm-smccc.h>
#include <linux/errno.h>

#include "hypercall.h"

s32 amphion_hvc(u32 function, u32 r1, u32 r2, u32 r3, u32 *result)
{
	struct arm_smccc_res res;

	arm_smccc_hvc(function, r1, r2, r3, 0, 0, 0, 0, &res);
	if (result)
		*result = res.a1;
	return res.a0;
}

int amphion_errno(s32 error)
{
	switch (error) {
	case 0:
		return 0;
	case AMPHION_EDENIED:
		return -EPERM;
	case AMPHION_EINVAL:
		return -EINVAL;
	case AMPHION_ENOENT:
		return -ENXIO;
	case AMPHION_ENOMEM:
		return -ENOMEM;
	case AMPHION_ESTATE:
		return -EBUSY;
	case AMPHION_EBUSY:
		return -EAGAIN;
	default:
		return -EOPNOTSUPP;
	}
}
