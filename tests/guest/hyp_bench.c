// SPDX-License-Identifier: GPL-2.0-only
/*
 * Measures what only a kernel can do, for tests/bench/hyp.py: registers, the distributor, a call to
 * the hypervisor, an interrupt to oneself, a call on another CPU that computes, one access to a
 * device. With yields=1 or 2 only that: gives way to Xen's other domain, measured or without end.
 * Prints "value NAME NS"; loading it fails on purpose (-ECANCELED). Never part of an image.
 */
#include <linux/arm-smccc.h>
#include <linux/delay.h>
#include <linux/io.h>
#include <linux/irq_work.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/of.h>
#include <linux/of_address.h>
#include <linux/sched.h>
#include <linux/smp.h>
#include <linux/sort.h>
#include <linux/virtio_mmio.h>
#include <asm/opcodes-virt.h>

#define GICD_TYPER 0x004
#define GICD_ISENABLER0 0x100
#define GICD_ISENABLER1 0x104
#define PSCI_VERSION 0x84000000
#define UNUSED_QUEUE 31
#define TIMES 1000

/* xen/include/public/{xen,sched,arch-arm}.h */
#define XEN_HVC 0xEA1
#define XEN_SCHED_OP 29
#define XEN_SCHEDOP_YIELD 0
#define YIELD_BATCHES 25

static int yields;
module_param(yields, int, 0);
MODULE_PARM_DESC(yields, "1: measure Xen's SCHEDOP_yield, 2: do it without end");

/* With the loop: two instructions or so. */
#define MEASURE(name, action)                                                                  \
	do {                                                                                   \
		u64 begin_ = ktime_get_ns();                                                   \
		int n_;                                                                        \
		for (n_ = 0; n_ < TIMES; n_++) {                                               \
			action;                                                                \
		}                                                                              \
		pr_info("value " name " %llu.0\n", div_u64(ktime_get_ns() - begin_, TIMES));   \
	} while (0)

#define READ_CP15(words)                                                                       \
	do {                                                                                   \
		u32 value_;                                                                    \
		asm volatile("mrc p15, " words : "=r"(value_));                                \
	} while (0)

static atomic_t taken = ATOMIC_INIT(0);

static void count(struct irq_work *work)
{
	atomic_inc(&taken);
}

static void __iomem *map_of(const char *const *kinds)
{
	struct device_node *node;

	for (; *kinds; kinds++) {
		node = of_find_compatible_node(NULL, NULL, *kinds);
		if (node)
			return of_iomap(node, 0);
	}
	return NULL;
}

static void measure_registers(void)
{
	MEASURE("empty_loop", barrier());
	MEASURE("read_MIDR", READ_CP15("0, %0, c0, c0, 0"));
	MEASURE("read_ID_MMFR3", READ_CP15("0, %0, c0, c1, 7"));
	MEASURE("cntvct_read", {
		u64 value_;
		asm volatile("mrrc p15, 1, %Q0, %R0, c14" : "=r"(value_));
	});
}

static void measure_distributor(void)
{
	static const char *const kinds[] = {"arm,cortex-a15-gic", "arm,gic-400", NULL};
	void __iomem *gicd = map_of(kinds);

	if (!gicd)
		return;
	MEASURE("gicd_read_TYPER", readl_relaxed(gicd + GICD_TYPER));
	MEASURE("gicd_read_ISENABLER1", readl_relaxed(gicd + GICD_ISENABLER1));
	MEASURE("gicd_write_ISENABLER0_0", writel_relaxed(0, gicd + GICD_ISENABLER0));
	iounmap(gicd);
}

static void measure_hypercall(void)
{
	struct arm_smccc_res res;

	MEASURE("psci_version", arm_smccc_hvc(PSCI_VERSION, 0, 0, 0, 0, 0, 0, 0, &res));
}

static void measure_self_ipi(void)
{
	struct irq_work work;
	int before;

	init_irq_work(&work, count);
	MEASURE("self_ipi", {
		before = atomic_read(&taken);
		irq_work_queue(&work);
		while (atomic_read(&taken) == before)
			cpu_relax();
	});
}

/* The first virtio device there is. */
static void __iomem *map_virtio(void)
{
	struct device_node *node = NULL;
	void __iomem *slot;

	while ((node = of_find_compatible_node(node, NULL, "virtio,mmio"))) {
		slot = of_iomap(node, 0);
		if (slot && readl(slot + VIRTIO_MMIO_DEVICE_ID))
			return slot;
		if (slot)
			iounmap(slot);
	}
	return NULL;
}

/* A register that the device model must see before its driver goes on. */
static void measure_device_access(void __iomem *slot)
{
	MEASURE("device_access", writel(0, slot + VIRTIO_MMIO_DEVICE_FEATURES_SEL));
}

/*
 * A notification of a queue that nobody uses. The shortest of some batches: the host takes a
 * doorbell when its turn comes, and that is not the guest's cost.
 */
static void measure_doorbell(void __iomem *slot)
{
	u64 begin, shortest = U64_MAX;
	int batch, n;

	for (batch = 0; batch < 50; batch++) {
		begin = ktime_get_ns();
		for (n = 0; n < 20; n++)
			writel(UNUSED_QUEUE, slot + VIRTIO_MMIO_QUEUE_NOTIFY);
		shortest = min(shortest, ktime_get_ns() - begin);
	}
	pr_info("value doorbell %llu.0\n", div_u64(shortest, 20));
}

static void measure_virtio(void)
{
	void __iomem *slot = map_virtio();

	if (!slot)
		return;
	measure_device_access(slot);
	measure_doorbell(slot);
	iounmap(slot);
}

static int compute(void *unused)
{
	while (!kthread_should_stop())
		cpu_relax();
	return 0;
}

static void nothing(void *unused)
{
}

/* The longest of a few: what waits for a slice to end shows here. */
static void measure_call_to_busy(void)
{
	struct task_struct *busy = kthread_create_on_cpu(compute, NULL, 1, "busy/%u");
	u64 begin, took, longest = 0;
	int n;

	if (IS_ERR(busy))
		return;
	wake_up_process(busy);
	msleep(50);
	for (n = 0; n < 50; n++) {
		preempt_disable();
		begin = ktime_get_ns();
		smp_call_function_single(1, nothing, NULL, 1);
		took = ktime_get_ns() - begin;
		preempt_enable();
		longest = max(longest, took);
		usleep_range(300, 400);
	}
	kthread_stop(busy);
	pr_info("value ipi_wait_busy %llu.0\n", longest);
}

static void xen_yield(void)
{
	register unsigned long call asm("r12") = XEN_SCHED_OP;
	register unsigned long command asm("r0") = XEN_SCHEDOP_YIELD;
	register unsigned long argument asm("r1") = 0;

	asm volatile(__HVC(XEN_HVC) : "+r"(call), "+r"(command), "+r"(argument) : : "memory");
}

static u64 yield_ns(void)
{
	u64 begin = ktime_get_ns();
	int n;

	for (n = 0; n < TIMES; n++)
		xen_yield();
	return div_u64(ktime_get_ns() - begin, TIMES);
}

static int compare(const void *a, const void *b)
{
	u64 first = *(const u64 *)a, second = *(const u64 *)b;

	return first < second ? -1 : first > second;
}

/* The batch in the middle: the first ones last as long as the other domain boots. */
static void measure_yield(void)
{
	static u64 took[YIELD_BATCHES];
	int batch;

	for (batch = 0; batch < YIELD_BATCHES; batch++) {
		took[batch] = yield_ns();
		cond_resched();
	}
	sort(took, YIELD_BATCHES, sizeof(took[0]), compare, NULL);
	pr_info("value xen_yield %llu.0\n", took[YIELD_BATCHES / 2]);
}

static void yield_forever(void)
{
	for (;;) {
		xen_yield();
		cond_resched();
	}
}

static void measure_kernel(void)
{
	measure_registers();
	measure_distributor();
	measure_hypercall();
	measure_self_ipi();
	measure_virtio();
	if (num_online_cpus() > 1)
		measure_call_to_busy();
}

static int __init hyp_bench_init(void)
{
	if (yields == 2)
		yield_forever();
	else if (yields)
		measure_yield();
	else
		measure_kernel();
	return -ECANCELED;
}
module_init(hyp_bench_init);

MODULE_DESCRIPTION("Amphion benchmark: what a kernel does");
MODULE_LICENSE("GPL");
