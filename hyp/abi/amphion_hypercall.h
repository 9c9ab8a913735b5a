/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * The contract between the hypervisor and the host instance: hypercalls, the request page, the vCPU and GIC state.
 * Read by hyp/ (C++) and guest-kernel-mods/amphion_host (C). One text, no copies; layout is asserted on both sides.
 *
 * Calling convention: HVC #0, function in r0, arguments in r1..r3, result in r0 (0 or a negative AMPHION_E*), a second
 * result in r1. Only the host instance may call, but for AMPHION_HC_YIELD; anyone else gets AMPHION_EDENIED for a known
 * management call and SMCCC's NOT_SUPPORTED (-1) for an unknown function. Functions lie in SMCCC's vendor specific hypervisor range.
 * "Host page": physical (= intermediate physical) address of a 4 KiB page inside the host instance's memory, aligned.
 * The hypervisor checks every argument whole before its first side effect.
 * A call whose work grows with memory (RUN after a restore, PAGE at the bound, DISCARD, LOG, BITMAP, DESTROY) does a piece at a
 * time: the HVC is executed again, with r1..r3 changed to say what is left, until all is done. Between two pieces the caller's
 * interrupts are taken and other calls are served; to the caller it is one call. Arguments that are not named are 0.
 */
#ifndef AMPHION_HYPERCALL_H
#define AMPHION_HYPERCALL_H

#ifdef __KERNEL__
#include <linux/types.h>
typedef u8 amphion_u8;
typedef u16 amphion_u16;
typedef u32 amphion_u32;
typedef u64 amphion_u64;
#else
#include <stdint.h>
typedef uint8_t amphion_u8;
typedef uint16_t amphion_u16;
typedef uint32_t amphion_u32;
typedef uint64_t amphion_u64;
#endif

#define AMPHION_ABI_VERSION 4u

#ifndef AMPHION_MAX_INSTANCES    /* a build for tests may have more */
#define AMPHION_MAX_INSTANCES 8u /* the host instance not counted */
#endif
#define AMPHION_MAX_VCPUS 4u     /* of one instance */
#define AMPHION_MAX_CPUS 4u      /* physical */
#define AMPHION_IRQ_LINES 288u
#define AMPHION_VIRTIO_SLOTS 8u
#define AMPHION_UART_FIFO 16u
#define AMPHION_PAGE_BYTES 4096u

/* Results */
#define AMPHION_EDENIED (-2)  /* the caller is not the host instance */
#define AMPHION_EINVAL (-3)   /* an argument is outside its bounds */
#define AMPHION_ENOENT (-4)   /* no such instance or vCPU */
#define AMPHION_ENOMEM (-5)   /* pool or bound exhausted */
#define AMPHION_ESTATE (-6)   /* not in a state that allows this call */
#define AMPHION_EBUSY (-7)    /* try again after the next event */

/*
 * Functions. `id` is what AMPHION_HC_CREATE returned in r1: 1..AMPHION_MAX_INSTANCES.
 * An instance is STOPPED after creation and after a pause has completed, RUNNING otherwise.
 */
#define AMPHION_HC(n) (0x86000000u | (n))
#define AMPHION_HC_INFO AMPHION_HC(0x00)     /* r1: host page that receives struct amphion_info */
#define AMPHION_HC_CREATE AMPHION_HC(0x01)   /* r1: host page with struct amphion_config; r1 <- id */
#define AMPHION_HC_DESTROY AMPHION_HC(0x02)  /* r1: id, STOPPED. Frees and scrubs all its pages. The caller unmapped them */
#define AMPHION_HC_RUN AMPHION_HC(0x03)      /* r1: id, STOPPED -> RUNNING. Its counter goes on from where it stood */
#define AMPHION_HC_PAUSE AMPHION_HC(0x04)    /* r1: id. Asks; AMPHION_EVENT_PAUSED tells that it is STOPPED. Requests that are
                                                under way are completed first, so keep serving them */
#define AMPHION_HC_ALLOW AMPHION_HC(0x05)    /* r1: id, r2: how many vCPUs PSCI CPU_ON may bring up (1..max) */
#define AMPHION_HC_EVENTS AMPHION_HC(0x06)   /* r1 <- bit mask (bit id) of instances whose request page has news; clears it */
#define AMPHION_HC_IO_DONE AMPHION_HC(0x07)  /* r1: id, r2: vCPU. Its slot is COMPLETE; the vCPU goes on */
#define AMPHION_HC_IRQ AMPHION_HC(0x08)      /* r1: id, r2: INTID 32..287, r3: level of the line, 0 or 1 */
#define AMPHION_HC_PAGE AMPHION_HC(0x09)     /* r1: id, r2: page index from ram_base; populates; r1 <- physical page number.
                                                Counts as a write for the dirty log */
#define AMPHION_HC_DISCARD AMPHION_HC(0x0a)  /* r1: id, r2: first page index, r3: pages. Freed, scrubbed; the next touch sees
                                                zeros. The caller unmapped them from itself. Counts as a write */
#define AMPHION_HC_LOG AMPHION_HC(0x0b)      /* r1: id, r2: 1 start (all pages clean), 0 stop */
#define AMPHION_HC_BITMAP AMPHION_HC(0x0c)   /* r1: id, r2: first page index (multiple of 32768) | kind (low bits, below),
                                                r3: host page that receives 32768 bits, little-endian words */
#define AMPHION_HC_VCPU_GET AMPHION_HC(0x0d) /* r1: id, r2: vCPU, r3: host page for struct amphion_vcpu. STOPPED only */
#define AMPHION_HC_VCPU_SET AMPHION_HC(0x0e) /* r1: id, r2: vCPU, r3: host page with struct amphion_vcpu. STOPPED only */
#define AMPHION_HC_GIC_GET AMPHION_HC(0x0f)  /* r1: id, r2: host page for struct amphion_gic. STOPPED only */
#define AMPHION_HC_GIC_SET AMPHION_HC(0x10)  /* r1: id, r2: host page with struct amphion_gic. STOPPED only; tell the levels of
                                                lines (HC_IRQ, HC_VIRTIO_IRQ, AMPHION_UART_SET) after it */
#define AMPHION_HC_COUNTER AMPHION_HC(0x11)  /* r1: id, r2: host page with u64, r3: 0 get, 1 set. STOPPED only */
#define AMPHION_HC_STATS AMPHION_HC(0x12)    /* r1: id, r2: host page for struct amphion_stats */
#define AMPHION_HC_YIELD AMPHION_HC(0x13)    /* anyone: the vCPU goes on, but after the others that are ready on its CPU */

#define AMPHION_HC_VIRTIO_IRQ AMPHION_HC(0x14) /* r1: id, r2: virtio slot, r3: bits of its InterruptStatus to clear (15:8) and
                                                  then to set (7:0). Its line follows */
#define AMPHION_HC_UART AMPHION_HC(0x15)     /* r1: id, r2: AMPHION_UART_*, r3: host page */

#define AMPHION_HC_LAST_LOG AMPHION_HC(0x16) /* r1: host page that receives text, r2: from this byte on (multiple of 4096);
                                                r1 <- bytes in all: what the last run said, if it was not ended in order */
#define AMPHION_HC_LAST_WORDS AMPHION_HC(0x17) /* r1: host page with text, r2: bytes, 1..4096: kept in this run's log. r2: 0:
                                                the board is about to be ended in order */

#define AMPHION_HC_SCHED AMPHION_HC(0x18)     /* r1: host page with struct amphion_sched, r2: 0 get, 1 set (its first five) */
#define AMPHION_HC_END AMPHION_HC(0x19)       /* no function from here on */

#define AMPHION_UART_TAKE 0u /* what the guest has sent: fills struct amphion_bytes */
#define AMPHION_UART_GIVE 1u /* bytes for the guest, from struct amphion_bytes; r1 <- how many fit. If not all did, AMPHION_RUNG_UART
                                tells when there is room */
#define AMPHION_UART_GET 2u  /* struct amphion_uart. STOPPED only, and after what was sent has been taken */
#define AMPHION_UART_SET 3u  /* struct amphion_uart. STOPPED only */

#define AMPHION_BITMAP_PAGES 32768u
#define AMPHION_BITMAP_POPULATED 0u /* pages that have memory */
#define AMPHION_BITMAP_DIRTY 1u     /* pages written, populated or discarded since the log started or was last fetched; clears
                                       them. The host's own writes through HC_PAGE mappings are NOT seen: the device model
                                       reports its writes itself */

struct amphion_info {
	amphion_u32 abi_version;
	amphion_u32 cpus;              /* physical CPUs online */
	amphion_u32 pool_pages;        /* in all */
	amphion_u32 pool_free_pages;
	amphion_u32 reserved_pages;    /* sum of the instances' bounds */
	amphion_u32 counter_frequency; /* Hz */
	amphion_u32 pool_clean_pages;  /* of the free ones; the others are scrubbed in idle time, or when they are taken */
};

struct amphion_config {
	amphion_u32 vcpus;         /* largest shape, 1..AMPHION_MAX_VCPUS */
	amphion_u32 vcpus_allowed; /* 1..vcpus */
	amphion_u32 memory_pages;  /* largest shape */
	amphion_u32 bound_pages;   /* at most this many populated at a time */
	amphion_u64 request_page;  /* host page: struct amphion_request_page. Stays with the hypervisor until DESTROY */
	amphion_u64 register_page; /* host page: the registers of the virtio slots, below. Stays until DESTROY */
};

/*
 * The register page: slot n's registers (virtio 1.1 section 4.2.2) from n * 512 on. The instance reads it without a trap;
 * what it writes traps. The host writes there what the registers read as: all but InterruptStatus, which is the
 * hypervisor's. The instance sees it once the access under way is done (HC_IO_DONE), or with HC_VIRTIO_IRQ for that slot:
 * instances read past the caches, so the hypervisor cleans them then.
 * Of what the instance writes the hypervisor finishes two itself: QueueNotify, which rings a doorbell of the request page,
 * and InterruptACK. The rest are device accesses.
 */

/*
 * The request page: one an instance. The hypervisor owns it but for what is said here.
 *
 * slot[n].state   owner        meaning
 * FREE            hypervisor   nothing
 * PENDING         host         a device access of vCPU n; address, bytes, write, data are valid
 * COMPLETE        hypervisor   the host wrote `data` (for a read), then `state`, then called HC_IO_DONE
 *
 * Two orderings: payload before state when it is handed over (store-release), state before payload when it is taken
 * (load-acquire). `events`, `rung` and `doorbell` are set by the hypervisor with an atomic OR and taken by the host with an
 * atomic exchange by 0: `rung` first, then the doorbells that it names.
 */
#define AMPHION_SLOT_FREE 0u
#define AMPHION_SLOT_PENDING 1u
#define AMPHION_SLOT_COMPLETE 2u

#define AMPHION_EVENT_PAUSED 1u         /* now STOPPED */
#define AMPHION_EVENT_SYSTEM_OFF 2u     /* PSCI SYSTEM_OFF; now STOPPED */
#define AMPHION_EVENT_SYSTEM_RESET 4u   /* PSCI SYSTEM_RESET; now STOPPED */
#define AMPHION_EVENT_OUT_OF_MEMORY 8u  /* a vCPU is parked on a touch beyond the bound; HC_DISCARD of any page lets it retry */

struct amphion_slot {
	amphion_u32 state;
	amphion_u32 address; /* intermediate physical, inside the device window */
	amphion_u32 bytes;   /* 1, 2, 4 */
	amphion_u32 write;
	amphion_u32 data; /* zero-extended */
	amphion_u32 pad[3];
};

struct amphion_request_page {
	amphion_u32 events;
	amphion_u32 rung; /* bit n: doorbell[n]; AMPHION_RUNG_UART */
	amphion_u32 pad[6];
	struct amphion_slot slot[AMPHION_MAX_VCPUS];
	amphion_u32 doorbell[AMPHION_VIRTIO_SLOTS]; /* of a virtio slot; bit n: its queue n was notified */
};
#define AMPHION_RUNG_UART (1u << AMPHION_VIRTIO_SLOTS) /* the guest has sent, or there is room again for what it is given */

struct amphion_bytes {
	amphion_u32 count;
	amphion_u8 data[AMPHION_PAGE_BYTES - 4];
};

/* The PL011 (ARM DDI 0183); registers within their widths. */
struct amphion_uart {
	amphion_u32 rsr, ilpr, ibrd, fbrd, lcr_h, cr, ifls, imsc, ris, dmacr;
	amphion_u32 received; /* bytes in the receive FIFO */
	amphion_u8 fifo[AMPHION_UART_FIFO]; /* oldest first */
};

/* Registers of one vCPU. Non-secure copies, names of the Architecture Reference Manual. */
#define AMPHION_MODE_SVC 0u
#define AMPHION_MODE_ABT 1u
#define AMPHION_MODE_UND 2u
#define AMPHION_MODE_IRQ 3u
#define AMPHION_MODE_FIQ 4u

struct amphion_vcpu {
	amphion_u32 power; /* 0 off, 1 on */
	amphion_u32 r[13]; /* R0_usr..R12_usr */
	amphion_u32 sp_usr, lr_usr, pc, cpsr;
	amphion_u32 sp[5], lr[5], spsr[5]; /* by AMPHION_MODE_* */
	amphion_u32 r_fiq[5];              /* R8_fiq..R12_fiq */
	amphion_u32 fpscr, fpexc;
	amphion_u32 sctlr, actlr, cpacr, ttbcr, dacr, dfsr, ifsr, adfsr, aifsr, dfar, ifar;
	amphion_u32 mair0, mair1, amair0, amair1, vbar, contextidr, tpidrurw, tpidruro, tpidrprw;
	amphion_u32 csselr, teecr, teehbr, cntkctl;
	amphion_u32 cntv_ctl, cntp_ctl; /* ENABLE and IMASK only */
	amphion_u32 pad;
	amphion_u64 d[32]; /* D0..D31 */
	amphion_u64 ttbr0, ttbr1, par;
	amphion_u64 cntv_cval, cntp_cval; /* in the instance's counter */
};

/* One interrupt line. */
#define AMPHION_LINE_ENABLED 1u
#define AMPHION_LINE_PENDING 2u /* latched; not the level */
#define AMPHION_LINE_ACTIVE 4u
#define AMPHION_LINE_LEVEL 8u /* the input line is asserted */
#define AMPHION_LINE_EDGE 16u
#define AMPHION_LINE_GROUP1 32u

struct amphion_gic_line {
	amphion_u8 flags;
	amphion_u8 priority;
	amphion_u8 targets;
	amphion_u8 pad;
};

struct amphion_gic_cpu {
	struct amphion_gic_line line[32]; /* SGIs and PPIs */
	amphion_u8 sgi_sources[16];       /* GICD_SPENDSGIRn as seen by this CPU */
	amphion_u32 ctlr, pmr, bpr, abpr, apr;
};

struct amphion_gic {
	amphion_u32 gicd_ctlr;
	struct amphion_gic_line spi[AMPHION_IRQ_LINES - 32];
	struct amphion_gic_cpu cpu[AMPHION_MAX_VCPUS];
};

/* The scheduler: docs/scheduling.md. */
#define AMPHION_SCHED_DFT 0u
#define AMPHION_SCHED_BAL 1u
#define AMPHION_SCHED_PROCCO 2u
#define AMPHION_SCHED_CPUCO 3u
#define AMPHION_SCHED_SBCO 4u
#define AMPHION_SCHED_NAMES {"dft", "bal", "procco", "cpuco", "sbco"} /* by AMPHION_SCHED_* */
#define AMPHION_SCHED_THRESHOLD_ONE 1024u
#define AMPHION_SCHED_SHORTEST_US 100u
#define AMPHION_SCHED_LONGEST_US 100000u

struct amphion_sched_cpu { /* since boot */
	amphion_u64 run_ns;  /* not idle: vCPUs, and what the hypervisor does beside them. run_ns + idle_ns is the time since boot */
	amphion_u64 idle_ns;
	amphion_u64 wait_ns; /* of all vCPUs that were ready there, but did not run */
	amphion_u64 decisions;
	amphion_u64 switches;
	amphion_u64 far; /* a sibling was too far behind: virtual time was lent */
	amphion_u64 debts_applied;
	amphion_u64 stackings_avoided;
	amphion_u64 moved_away; /* vCPUs, to other CPUs */
};

struct amphion_sched_vcpu {
	amphion_u64 run_ns;
	amphion_u64 wait_ns; /* ready, but not running */
	amphion_u32 switches;
	amphion_u32 moves; /* to another CPU */
	amphion_u32 lends; /* of virtual time, to a sibling */
	amphion_u32 debts; /* of a sibling's lending */
};

struct amphion_sched {
	amphion_u32 policy;         /* AMPHION_SCHED_* */
	amphion_u32 threshold;      /* of the queue's length: 0..AMPHION_SCHED_THRESHOLD_ONE */
	amphion_u32 latency_us;     /* a round of few vCPUs: AMPHION_SCHED_SHORTEST_US..AMPHION_SCHED_LONGEST_US */
	amphion_u32 granularity_us; /* a turn in a round of many: the same bounds */
	amphion_u32 hand_over;      /* 1: an interrupt's vCPU goes next, for a short turn */
	amphion_u32 cpus;
	amphion_u32 pad;
	struct amphion_sched_cpu cpu[AMPHION_MAX_CPUS];
	struct amphion_sched_vcpu host[AMPHION_MAX_CPUS]; /* the host instance's, one a CPU; others': AMPHION_HC_STATS */
};

struct amphion_stats {
	amphion_u64 exits[AMPHION_MAX_VCPUS];
	struct amphion_sched_vcpu sched[AMPHION_MAX_VCPUS];
	amphion_u32 populated_pages;
	amphion_u32 bound_pages;
	amphion_u32 state; /* 0 STOPPED, 1 RUNNING */
	amphion_u32 parked; /* bit mask of vCPUs parked on the bound */
};

#if defined(__cplusplus)
#define AMPHION_ASSERT(e) static_assert(e)
#else
#define AMPHION_ASSERT(e) _Static_assert(e, #e)
#endif
AMPHION_ASSERT(sizeof(struct amphion_slot) == 32);
AMPHION_ASSERT(sizeof(struct amphion_request_page) == 32 + 32 * AMPHION_MAX_VCPUS + 4 * AMPHION_VIRTIO_SLOTS);
AMPHION_ASSERT(sizeof(struct amphion_bytes) == AMPHION_PAGE_BYTES);
AMPHION_ASSERT(sizeof(struct amphion_uart) == 44 + AMPHION_UART_FIFO);
AMPHION_ASSERT(sizeof(struct amphion_vcpu) % 8 == 0 && sizeof(struct amphion_vcpu) <= AMPHION_PAGE_BYTES);
AMPHION_ASSERT(sizeof(struct amphion_gic_cpu) == 32 * 4 + 16 + 20);
AMPHION_ASSERT(sizeof(struct amphion_gic) <= AMPHION_PAGE_BYTES);

#endif
