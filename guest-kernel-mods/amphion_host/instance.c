// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life of an instance, from AMPHION_CREATE to the last reference to its descriptor (mappings
 * included).
 */
#include <linux/anon_inodes.h>
#include <linux/bitmap.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/printk.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "hypercall.h"
#include "instance.h"

#define END_TRIES                                                                                  \
	200 /* of 50 ms: an instance that does not stop in 10 s is the hypervisor's fault */

static void amphion_instance_free(struct amphion_instance *inst)
{
	if (!inst)
		return;
	bitmap_free(inst->dirty);
	free_page((unsigned long)inst->requests);
	free_page((unsigned long)inst->registers);
	free_page((unsigned long)inst->bounce);
	kfree(inst);
}

static struct amphion_instance *amphion_instance_alloc(const struct amphion_create *args)
{
	struct amphion_instance *inst = kzalloc(sizeof(*inst), GFP_KERNEL);

	if (!inst)
		return NULL;
	inst->vcpus = args->vcpus;
	inst->memory_pages = args->memory_pages;
	mutex_init(&inst->call_lock);
	mutex_init(&inst->request_lock);
	mutex_init(&inst->memory_lock);
	init_waitqueue_head(&inst->wait);
	inst->bounce = (void *)get_zeroed_page(GFP_KERNEL);
	inst->requests = (void *)get_zeroed_page(GFP_KERNEL);
	inst->registers = (void *)get_zeroed_page(GFP_KERNEL);
	inst->dirty = bitmap_zalloc(round_up(args->memory_pages, AMPHION_BITMAP_PAGES), GFP_KERNEL);
	if (!inst->bounce || !inst->requests || !inst->registers || !inst->dirty) {
		amphion_instance_free(inst);
		return NULL;
	}
	return inst;
}

static int amphion_instance_begin(struct amphion_instance *inst, const struct amphion_create *args)
{
	struct amphion_config *config = inst->bounce;
	int err;

	config->vcpus = args->vcpus;
	config->vcpus_allowed = args->vcpus_allowed;
	config->memory_pages = args->memory_pages;
	config->bound_pages = args->bound_pages;
	config->request_page = virt_to_phys(inst->requests);
	config->register_page = virt_to_phys(inst->registers);
	err = amphion_errno(amphion_hvc(AMPHION_HC_CREATE, virt_to_phys(config), 0, 0, &inst->id));
	if (err)
		return err;
	if (WARN_ON(!inst->id || inst->id > AMPHION_MAX_INSTANCES))
		return -EPROTO;
	amphion_register(inst);
	return 0;
}

static bool amphion_instance_stop(struct amphion_instance *inst)
{
	int tries;

	/* An earlier pause that nobody asked about is not the one to wait for. */
	xchg(&inst->requests->events, 0);
	amphion_hvc(AMPHION_HC_PAUSE, inst->id, 0, 0, NULL);
	for (tries = 0; tries < END_TRIES; tries++) {
		amphion_request_abandon(inst);
		if (amphion_state_stopped(inst))
			return true;
		wait_event_timeout(inst->wait,
				   READ_ONCE(inst->requests->events) & AMPHION_EVENT_PAUSED,
				   msecs_to_jiffies(50));
	}
	return false;
}

/*
 * Stops the instance and gives everything back. Accesses that are under way are answered with zeros, for the
 * hypervisor stops a vCPU only between two instructions. Nothing maps the memory any more.
 */
static void amphion_instance_end(struct amphion_instance *inst)
{
	int err = -EBUSY;

	if (amphion_instance_stop(inst)) {
		amphion_memory_drop(inst, 0, inst->memory_pages);
		err = amphion_call(AMPHION_HC_DESTROY, inst->id, 0, 0);
	}
	amphion_unregister(inst);
	if (WARN(err, "amphion: instance %u does not end (%d); its pages are lost\n", inst->id, err))
		return; /* the hypervisor still writes to the pages that it has */
	amphion_instance_free(inst);
}

static int amphion_instance_release(struct inode *inode, struct file *file)
{
	amphion_instance_end(file->private_data);
	return 0;
}

static __poll_t amphion_instance_poll(struct file *file, poll_table *table)
{
	return amphion_request_poll(file->private_data, file, table);
}

static long amphion_instance_allow(struct amphion_instance *inst, const u32 __user *user)
{
	u32 vcpus;

	if (get_user(vcpus, user))
		return -EFAULT;
	if (!vcpus || vcpus > inst->vcpus)
		return -EINVAL;
	return amphion_call(AMPHION_HC_ALLOW, inst->id, vcpus, 0);
}

static long amphion_instance_irq(struct amphion_instance *inst,
				 const struct amphion_irq __user *user)
{
	struct amphion_irq irq;

	if (copy_from_user(&irq, user, sizeof(irq)))
		return -EFAULT;
	if (irq.intid < 32 || irq.intid >= AMPHION_IRQ_LINES || irq.level > 1)
		return -EINVAL;
	return amphion_call(AMPHION_HC_IRQ, inst->id, irq.intid, irq.level);
}

static long amphion_instance_virtio_irq(struct amphion_instance *inst,
					const struct amphion_virtio_irq __user *user)
{
	struct amphion_virtio_irq irq;

	if (copy_from_user(&irq, user, sizeof(irq)))
		return -EFAULT;
	if (irq.slot >= AMPHION_VIRTIO_SLOTS || irq.clear > 0xff || irq.set > 0xff)
		return -EINVAL;
	return amphion_call(AMPHION_HC_VIRTIO_IRQ, inst->id, irq.slot, irq.clear << 8 | irq.set);
}

static long amphion_instance_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct amphion_instance *inst = file->private_data;
	void __user *user = (void __user *)arg;

	switch (cmd) {
	case AMPHION_RUN:
		return amphion_call(AMPHION_HC_RUN, inst->id, 0, 0);
	case AMPHION_PAUSE:
		return amphion_call(AMPHION_HC_PAUSE, inst->id, 0, 0);
	case AMPHION_ALLOW:
		return amphion_instance_allow(inst, user);
	case AMPHION_NEXT:
		return amphion_request_next(inst, user);
	case AMPHION_IO_DONE:
		return amphion_request_done(inst, user);
	case AMPHION_IRQ:
		return amphion_instance_irq(inst, user);
	case AMPHION_VIRTIO_IRQ:
		return amphion_instance_virtio_irq(inst, user);
	case AMPHION_SERIAL_TAKE:
		return amphion_serial_take(inst, user);
	case AMPHION_SERIAL_GIVE:
		return amphion_serial_give(inst, user);
	case AMPHION_SERIAL_GET:
		return amphion_serial_get(inst, user);
	case AMPHION_SERIAL_SET:
		return amphion_serial_set(inst, user);
	case AMPHION_DISCARD:
		return amphion_memory_discard(inst, file->f_mapping, user);
	case AMPHION_LOG:
		return amphion_memory_log(inst, user);
	case AMPHION_BITMAP:
		return amphion_memory_bitmap(inst, user);
	case AMPHION_VCPU_GET:
		return amphion_state_vcpu_get(inst, user);
	case AMPHION_VCPU_SET:
		return amphion_state_vcpu_set(inst, user);
	case AMPHION_GIC_GET:
		return amphion_state_get(inst, AMPHION_HC_GIC_GET, 0, user,
					 sizeof(struct amphion_gic));
	case AMPHION_GIC_SET:
		return amphion_state_set(inst, AMPHION_HC_GIC_SET, 0, user,
					 sizeof(struct amphion_gic));
	case AMPHION_COUNTER_GET:
		return amphion_state_get(inst, AMPHION_HC_COUNTER, 0, user, sizeof(u64));
	case AMPHION_COUNTER_SET:
		return amphion_state_set(inst, AMPHION_HC_COUNTER, 1, user, sizeof(u64));
	case AMPHION_STATS:
		return amphion_state_get(inst, AMPHION_HC_STATS, 0, user,
					 sizeof(struct amphion_stats));
	default:
		return -ENOTTY;
	}
}

static const struct file_operations amphion_instance_fops = {
	.owner = THIS_MODULE,
	.release = amphion_instance_release,
	.poll = amphion_instance_poll,
	.unlocked_ioctl = amphion_instance_ioctl,
	.mmap = amphion_memory_mmap,
	.llseek = no_llseek,
};

static bool amphion_create_valid(const struct amphion_create *args)
{
	return args->vcpus >= 1 && args->vcpus <= AMPHION_MAX_VCPUS && args->vcpus_allowed >= 1 &&
	       args->vcpus_allowed <= args->vcpus && args->memory_pages >= 1 &&
	       args->memory_pages <= AMPHION_MAX_PAGES && args->memory_pages % 32 == 0 &&
	       args->bound_pages >= 1 && args->bound_pages <= args->memory_pages;
}

int amphion_instance_create(const struct amphion_create __user *user)
{
	struct amphion_instance *inst;
	struct amphion_create args;
	int result;

	if (copy_from_user(&args, user, sizeof(args)))
		return -EFAULT;
	if (!amphion_create_valid(&args))
		return -EINVAL;
	inst = amphion_instance_alloc(&args);
	if (!inst)
		return -ENOMEM;
	result = amphion_instance_begin(inst, &args);
	if (result) {
		amphion_instance_free(inst);
		return result;
	}
	/* An inode of its own, so that DISCARD can find this instance's mappings and no others. */
	result = anon_inode_getfd_secure("amphion-instance", &amphion_instance_fops, inst,
					 O_RDWR | O_CLOEXEC, NULL);
	if (result < 0)
		amphion_instance_end(inst);
	return result;
}
