/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One instance: what stands behind its file descriptor.
 *
 * Locks, none held while another of them is taken:
 *   call_lock     the bounce page and the saved dirty bits
 *   request_lock  the slots of the request page and `taken`
 *   memory_lock   a page that HC_PAGE returned is mapped, or unmapped and discarded, under this
 * lock, so that no page stays mapped here after the hypervisor has freed it. Nests inside
 * mmap_lock.
 */
#ifndef AMPHION_HOST_INSTANCE_H
#define AMPHION_HOST_INSTANCE_H

#include <linux/fs.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/wait.h>

#include "amphion_host.h"

#define AMPHION_MAX_PAGES (0x80000000u / AMPHION_PAGE_BYTES) /* 2 GiB: the largest shape */

struct amphion_instance {
	u32 id;
	u32 vcpus;
	u32 memory_pages;

	struct mutex call_lock;
	void *bounce;	      /* one page, for structures that the hypervisor reads or writes */
	unsigned long *dirty; /* fetched from the hypervisor, not yet asked for */

	struct mutex request_lock;
	struct amphion_request_page *requests;
	unsigned long taken; /* bit n: slot n was reported and waits for IO_DONE */
	void *registers;     /* one page, that the guest reads and user space maps */
	wait_queue_head_t wait;

	struct mutex memory_lock;
};

/* main.c: whom the event interrupt wakes */
void amphion_register(struct amphion_instance *inst);
void amphion_unregister(struct amphion_instance *inst);

/* instance.c */
int amphion_instance_create(const struct amphion_create __user *user);

/* request.c */
__poll_t amphion_request_poll(struct amphion_instance *inst, struct file *file, poll_table *table);
long amphion_request_next(struct amphion_instance *inst, struct amphion_next __user *user);
long amphion_request_done(struct amphion_instance *inst, const struct amphion_io_done __user *user);
void amphion_request_abandon(struct amphion_instance *inst);

/* memory.c */
int amphion_memory_mmap(struct file *file, struct vm_area_struct *vma);
int amphion_memory_drop(struct amphion_instance *inst, u32 first_page, u32 pages);
long amphion_memory_discard(struct amphion_instance *inst, struct address_space *mapping,
			    const struct amphion_range __user *user);
long amphion_memory_log(struct amphion_instance *inst, const u32 __user *user);
long amphion_memory_bitmap(struct amphion_instance *inst, const struct amphion_bitmap __user *user);

/* serial.c: what goes through the guest's PL011, and its registers */
long amphion_serial_get(struct amphion_instance *inst, struct amphion_uart __user *user);
long amphion_serial_set(struct amphion_instance *inst, const struct amphion_uart __user *user);
long amphion_serial_take(struct amphion_instance *inst, struct amphion_bytes __user *user);
long amphion_serial_give(struct amphion_instance *inst, struct amphion_bytes __user *user);

/* state.c: structures that pass through the bounce page */
bool amphion_state_stopped(struct amphion_instance *inst);
long amphion_state_vcpu_get(struct amphion_instance *inst, struct amphion_vcpu_io __user *user);
long amphion_state_vcpu_set(struct amphion_instance *inst,
			    const struct amphion_vcpu_io __user *user);
long amphion_state_get(struct amphion_instance *inst, u32 function, u32 r3, void __user *user,
		       size_t bytes);
long amphion_state_set(struct amphion_instance *inst, u32 function, u32 r3, const void __user *user,
		       size_t bytes);

#endif
