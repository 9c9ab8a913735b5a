/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * /dev/amphion: what the host instance's user space asks of the hypervisor. The shape of /dev/kvm, with scheduling left
 * to the hypervisor. Opened by phone-side/phoned.
 *
 * The control device creates instances; an instance is a file descriptor, and ends when the last reference to it is closed.
 * An instance descriptor can be
 *   mmap'ed   offset 0, its memory from ram_base on, MAP_SHARED; pages populate on touch; SIGBUS beyond the bound;
 *             right behind it, one page: the registers of its virtio slots (the register page of amphion_hypercall.h);
 *   polled    POLLIN while AMPHION_NEXT has something to report.
 * Reading the control device gives what the board's last run said last, if that was not ended in order, else nothing.
 * All structures that the hypervisor knows are its own (amphion_hypercall.h).
 */
#ifndef AMPHION_HOST_H
#define AMPHION_HOST_H

#include <linux/ioctl.h>
#include "amphion_hypercall.h"

struct amphion_create {
	amphion_u32 vcpus, vcpus_allowed, memory_pages, bound_pages;
};

/* One thing that happened: events (AMPHION_EVENT_*); or doorbells; or, if both are 0, a device access of a vCPU. */
struct amphion_next {
	amphion_u32 events; /* if not 0, the rest is not valid */
	amphion_u32 rung;   /* as in the request page; if not 0, what follows doorbell[] is not valid */
	amphion_u32 doorbell[AMPHION_VIRTIO_SLOTS];
	amphion_u32 vcpu;
	amphion_u32 address, bytes, write, data;
};

struct amphion_io_done {
	amphion_u32 vcpu, data;
};

struct amphion_irq {
	amphion_u32 intid, level;
};

/* InterruptStatus of a virtio slot: bits to clear, then bits to set; each at most 0xff. */
struct amphion_virtio_irq {
	amphion_u32 slot, clear, set;
};

struct amphion_range {
	amphion_u32 first_page, pages;
};

/* For the two bitmaps: `bits` is a user pointer to pages/8 bytes; first_page and pages are multiples of 32. */
struct amphion_bitmap {
	amphion_u32 kind; /* AMPHION_BITMAP_* */
	amphion_u32 first_page, pages;
	amphion_u32 pad;
	amphion_u64 bits;
};

struct amphion_vcpu_io {
	amphion_u32 vcpu;
	amphion_u32 pad;
	struct amphion_vcpu state;
};

#define AMPHION_MAGIC 0xA7
#define AMPHION_GET_INFO _IOR(AMPHION_MAGIC, 0x00, struct amphion_info)
#define AMPHION_CREATE _IOW(AMPHION_MAGIC, 0x01, struct amphion_create) /* returns the instance's descriptor */
#define AMPHION_SCHED_GET _IOR(AMPHION_MAGIC, 0x02, struct amphion_sched)
#define AMPHION_SCHED_SET _IOW(AMPHION_MAGIC, 0x03, struct amphion_sched) /* from cpus on: 0 */

/* On an instance */
#define AMPHION_RUN _IO(AMPHION_MAGIC, 0x10)
#define AMPHION_PAUSE _IO(AMPHION_MAGIC, 0x11)           /* asks; AMPHION_EVENT_PAUSED follows */
#define AMPHION_ALLOW _IOW(AMPHION_MAGIC, 0x12, amphion_u32)
#define AMPHION_NEXT _IOR(AMPHION_MAGIC, 0x13, struct amphion_next) /* EAGAIN when there is nothing */
#define AMPHION_IO_DONE _IOW(AMPHION_MAGIC, 0x14, struct amphion_io_done)
#define AMPHION_IRQ _IOW(AMPHION_MAGIC, 0x15, struct amphion_irq)
#define AMPHION_DISCARD _IOW(AMPHION_MAGIC, 0x16, struct amphion_range) /* unmaps from user space first */
#define AMPHION_LOG _IOW(AMPHION_MAGIC, 0x17, amphion_u32)
#define AMPHION_BITMAP _IOW(AMPHION_MAGIC, 0x18, struct amphion_bitmap)
#define AMPHION_VCPU_GET _IOWR(AMPHION_MAGIC, 0x19, struct amphion_vcpu_io)
#define AMPHION_VCPU_SET _IOW(AMPHION_MAGIC, 0x1a, struct amphion_vcpu_io)
#define AMPHION_GIC_GET _IOR(AMPHION_MAGIC, 0x1b, struct amphion_gic)
#define AMPHION_GIC_SET _IOW(AMPHION_MAGIC, 0x1c, struct amphion_gic)
#define AMPHION_COUNTER_GET _IOR(AMPHION_MAGIC, 0x1d, amphion_u64)
#define AMPHION_COUNTER_SET _IOW(AMPHION_MAGIC, 0x1e, amphion_u64)
#define AMPHION_STATS _IOR(AMPHION_MAGIC, 0x1f, struct amphion_stats)
#define AMPHION_VIRTIO_IRQ _IOW(AMPHION_MAGIC, 0x20, struct amphion_virtio_irq)
#define AMPHION_SERIAL_TAKE _IOR(AMPHION_MAGIC, 0x21, struct amphion_bytes)
#define AMPHION_SERIAL_GIVE _IOWR(AMPHION_MAGIC, 0x22, struct amphion_bytes) /* count <- how many fit */
#define AMPHION_SERIAL_GET _IOR(AMPHION_MAGIC, 0x23, struct amphion_uart)
#define AMPHION_SERIAL_SET _IOW(AMPHION_MAGIC, 0x24, struct amphion_uart)

#endif
