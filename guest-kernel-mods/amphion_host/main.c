// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/amphion: finds the hypervisor by its device-tree node, hands its event interrupt to the
 * instances and offers the control device. Part of the host instance; see amphion_host.h for the
 * interface.
 */
#include <linux/interrupt.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/of.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "hypercall.h"
#include "instance.h"
#include "last_log.h"
#include "sched.h"

static DEFINE_SPINLOCK(instances_lock); /* instances[], taken in the interrupt handler */
static struct amphion_instance *instances[AMPHION_MAX_INSTANCES + 1];

void amphion_register(struct amphion_instance *inst)
{
	unsigned long flags;

	spin_lock_irqsave(&instances_lock, flags);
	instances[inst->id] = inst;
	spin_unlock_irqrestore(&instances_lock, flags);
}

void amphion_unregister(struct amphion_instance *inst)
{
	unsigned long flags;

	spin_lock_irqsave(&instances_lock, flags);
	/* The id is free since HC_DESTROY, and may have been given to another instance. */
	if (instances[inst->id] == inst)
		instances[inst->id] = NULL;
	spin_unlock_irqrestore(&instances_lock, flags);
}

/* The interrupt is an edge, and one call may fetch the news of several edges: finding none is no
 * fault. */
static irqreturn_t amphion_event(int irq, void *data)
{
	u32 news = 0;
	u32 id;

	if (amphion_hvc(AMPHION_HC_EVENTS, 0, 0, 0, &news))
		return IRQ_HANDLED;
	spin_lock(&instances_lock);
	for (id = 1; id <= AMPHION_MAX_INSTANCES; id++)
		if ((news & BIT(id)) && instances[id])
			wake_up_all(&instances[id]->wait);
	spin_unlock(&instances_lock);
	return IRQ_HANDLED;
}

static int amphion_read_info(struct amphion_info *info)
{
	void *page = (void *)get_zeroed_page(GFP_KERNEL);
	int err;

	if (!page)
		return -ENOMEM;
	err = amphion_call(AMPHION_HC_INFO, virt_to_phys(page), 0, 0);
	if (!err)
		memcpy(info, page, sizeof(*info));
	free_page((unsigned long)page);
	return err;
}

static long amphion_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct amphion_info info;
	int err;

	switch (cmd) {
	case AMPHION_GET_INFO:
		err = amphion_read_info(&info);
		if (err)
			return err;
		return copy_to_user((void __user *)arg, &info, sizeof(info)) ? -EFAULT : 0;
	case AMPHION_CREATE:
		return amphion_instance_create((void __user *)arg);
	case AMPHION_SCHED_GET:
		return amphion_sched_get((void __user *)arg);
	case AMPHION_SCHED_SET:
		return amphion_sched_set((const void __user *)arg);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations amphion_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = amphion_ioctl,
	.read = amphion_last_log_read,
	.llseek = no_llseek,
};

static struct miscdevice amphion_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "amphion",
	.fops = &amphion_fops,
	.mode = 0600,
};

static int amphion_probe(struct platform_device *pdev)
{
	struct amphion_info info;
	int irq;
	int err;

	err = amphion_read_info(&info);
	if (err)
		return dev_err_probe(&pdev->dev, err, "the hypervisor refuses calls\n");
	if (info.abi_version != AMPHION_ABI_VERSION)
		return dev_err_probe(&pdev->dev, -EPROTO,
				     "the hypervisor speaks version %u, this module %u\n",
				     info.abi_version, AMPHION_ABI_VERSION);
	irq = platform_get_irq(pdev, 0);
	if (irq < 0)
		return irq;
	err = devm_request_irq(&pdev->dev, irq, amphion_event, 0, "amphion", pdev);
	if (err)
		return dev_err_probe(&pdev->dev, err, "event interrupt %d\n", irq);
	err = amphion_last_log_init();
	if (err)
		return err;
	err = misc_register(&amphion_device);
	if (err) {
		amphion_last_log_exit();
		return err;
	}
	dev_info(&pdev->dev, "%u CPUs, %u of %u pool pages free\n", info.cpus, info.pool_free_pages,
		 info.pool_pages);
	return 0;
}

static int amphion_remove(struct platform_device *pdev)
{
	misc_deregister(&amphion_device);
	amphion_last_log_exit();
	return 0;
}

static void amphion_shutdown(struct platform_device *pdev)
{
	amphion_ended_in_order();
}

/*
 * No MODULE_DEVICE_TABLE: the host's init loads the module by name, and modpost of Debian's cross
 * kbuild takes the size of the PC's struct of_device_id for the board's.
 */
static const struct of_device_id amphion_match[] = {{.compatible = "amphion,hypervisor"}, {}};

static struct platform_driver amphion_driver = {
	.driver =
		{
			.name = "amphion_host",
			.of_match_table = amphion_match,
			.suppress_bind_attrs = true, /* instances outlive an unbind, the module's
							use count does not see it */
		},
	.probe = amphion_probe,
	.remove = amphion_remove,
	.shutdown = amphion_shutdown,
};
module_platform_driver(amphion_driver);

MODULE_DESCRIPTION("Amphion's host instance: /dev/amphion");
MODULE_LICENSE("GPL");
