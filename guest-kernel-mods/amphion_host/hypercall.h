/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Calls to the hypervisor. Callable from any context; a call does not sleep.
 */
#ifndef AMPHION_HOST_HYPERCALL_H
#define AMPHION_HOST_HYPERCALL_H

#include <linux/types.h>
#include "amphion_host.h"

/* What was returned in r0: 0 or a negative AMPHION_E*. @result, if not NULL, receives r1. */
s32 amphion_hvc(u32 function, u32 r1, u32 r2, u32 r3, u32 *result);

/* AMPHION_E* -> errno */
int amphion_errno(s32 error);

static inline int amphion_call(u32 function, u32 r1, u32 r2, u32 r3)
{
	return amphion_errno(amphion_hvc(function, r1, r2, r3, NULL));
}

#endif
