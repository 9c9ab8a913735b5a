// SPDX-License-Identifier: GPL-2.0-only
/*
 * Measures what only a kernel can do, for tests/bench/hyp.py: an interrupt to oneself, a call on another CPU that
 * computes, one access to a device. Prints "value NAME NS"; loading it fails on purpose (-ECANCELED). Never part of an
 * image.
 */
#include <linux/delay.h>
#include <linux/io.h>
#include <linux/irq_work.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/smp.h>

#define PL011_BASE 0x09000000 /* the phone machine's, and QEMU's virt's */
#define PL011_FR 0x18
#define TIMES 1000

static atomic_t taken = ATOMIC_INIT(0);

static void count(struct irq_work *work)
{
	atomic_inc(&taken);
}

static void measure_self_ipi(void)
{
	struct irq_work work;
	u64 begin;
	int n;

	init_irq_work(&work, count);
	begin = ktime_get_ns();
	for (n = 0; n < TIMES; n++) {
		irq_work_queue(&work);
		while (atomic_read(&taken) == n)
			cpu_relax();
	}
	pr_info("value self_ipi %llu.0\n", div_u64(ktime_get_ns() - begin, TIMES));
}

static void measure_device_access(void)
{
	void __iomem *uart = ioremap(PL011_BASE, PAGE_SIZE);
	u64 begin;
	int n;

	if (!uart)
		return;
	begin = ktime_get_ns();
	for (n = 0; n < TIMES; n++)
		readl(uart + PL011_FR);
	pr_info("value device_access %llu.0\n", div_u64(ktime_get_ns() - begin, TIMES));
	iounmap(uart);
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

static int __init hyp_bench_init(void)
{
	measure_self_ipi();
	measure_device_access();
	if (num_online_cpus() > 1)
		measure_call_to_busy();
	return -ECANCELED;
}
module_init(hyp_bench_init);

MODULE_DESCRIPTION("Amphion benchmark: what a kernel does");
MODULE_LICENSE("GPL");
