/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The scheduler of the machine: its settings and its CPUs' statistics. Those of an instance's vCPUs are AMPHION_STATS.
 */
#ifndef AMPHION_HOST_SCHED_H
#define AMPHION_HOST_SCHED_H

#include <linux/compiler.h>
#include "amphion_host.h"

long amphion_sched_get(struct amphion_sched __user *user);
long amphion_sched_set(const struct amphion_sched __user *user);

#endif
