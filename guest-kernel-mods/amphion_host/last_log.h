/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The log that survives a reset of the board, which the hypervisor keeps: reading /dev/amphion gives that of the last
 * run, if that was not ended in order; what this kernel says last when it panics goes into this run's.
 */
#ifndef AMPHION_HOST_LAST_LOG_H
#define AMPHION_HOST_LAST_LOG_H

#include <linux/fs.h>

int amphion_last_log_init(void);
void amphion_last_log_exit(void);
void amphion_ended_in_order(void);
ssize_t amphion_last_log_read(struct file *file, char __user *to, size_t count, loff_t *at);

#endif
