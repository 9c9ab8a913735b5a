// SPDX-License-Identifier: GPL-2.0-only
/*
 * The request page: device accesses of vCPUs, doorbells and events, reported by AMPHION_NEXT; accesses
 * are answered by AMPHION_IO_DONE. A slot is the host's from PENDING (written by the hypervisor, payload first) to
 * COMPLETE (written here, payload first); in between it is reported once and marked in `taken`.
 */
#include <linux/bits.h>
#include <linux/uaccess.h>

#include "hypercall.h"
#include "instance.h"

static bool slot_pending(struct amphion_instance *inst, u32 vcpu)
{
	return smp_load_acquire(&inst->requests->slot[vcpu].state) == AMPHION_SLOT_PENDING;
}

static bool request_waits(struct amphion_instance *inst)
{
	u32 vcpu;

	if (READ_ONCE(inst->requests->events) || READ_ONCE(inst->requests->rung))
		return true;
	for (vcpu = 0; vcpu < inst->vcpus; vcpu++)
		if (!(READ_ONCE(inst->taken) & BIT(vcpu)) && slot_pending(inst, vcpu))
			return true;
	return false;
}

__poll_t amphion_request_poll(struct amphion_instance *inst, struct file *file, poll_table *table)
{
	poll_wait(file, &inst->wait, table);
	return request_waits(inst) ? EPOLLIN | EPOLLRDNORM : 0;
}

static bool take_slot(struct amphion_instance *inst, struct amphion_next *next)
{
	const struct amphion_slot *slot;
	u32 vcpu;

	for (vcpu = 0; vcpu < inst->vcpus; vcpu++) {
		if ((inst->taken & BIT(vcpu)) || !slot_pending(inst, vcpu))
			continue;
		slot = &inst->requests->slot[vcpu];
		next->vcpu = vcpu;
		next->address = slot->address;
		next->bytes = slot->bytes;
		next->write = slot->write;
		next->data = slot->data;
		WRITE_ONCE(inst->taken, inst->taken | BIT(vcpu));
		return true;
	}
	return false;
}

/* `rung` before the doorbells that it names: one that rings again meanwhile is named again. */
static bool take_doorbells(struct amphion_instance *inst, struct amphion_next *next)
{
	u32 slot;

	next->rung = xchg(&inst->requests->rung, 0);
	for (slot = 0; slot < AMPHION_VIRTIO_SLOTS; slot++)
		if (next->rung & BIT(slot))
			next->doorbell[slot] = xchg(&inst->requests->doorbell[slot], 0);
	return next->rung;
}

static bool take_next(struct amphion_instance *inst, struct amphion_next *next)
{
	if (READ_ONCE(inst->requests->events)) {
		next->events = xchg(&inst->requests->events, 0);
		return next->events;
	}
	if (READ_ONCE(inst->requests->rung))
		return take_doorbells(inst, next);
	return take_slot(inst, next);
}

long amphion_request_next(struct amphion_instance *inst, struct amphion_next __user *user)
{
	struct amphion_next next = {};
	bool found;

	/* Before anything is taken: what cannot be told is not lost. */
	if (clear_user(user, sizeof(*user)))
		return -EFAULT;
	mutex_lock(&inst->request_lock);
	found = take_next(inst, &next);
	mutex_unlock(&inst->request_lock);
	if (!found)
		return -EAGAIN;
	return copy_to_user(user, &next, sizeof(next)) ? -EFAULT : 0;
}

/* With request_lock, for a slot that is PENDING */
static int complete_slot(struct amphion_instance *inst, u32 vcpu, u32 data)
{
	struct amphion_slot *slot = &inst->requests->slot[vcpu];

	slot->data = data;
	smp_store_release(&slot->state, AMPHION_SLOT_COMPLETE);
	WRITE_ONCE(inst->taken, inst->taken & ~BIT(vcpu));
	return amphion_call(AMPHION_HC_IO_DONE, inst->id, vcpu, 0);
}

long amphion_request_done(struct amphion_instance *inst, const struct amphion_io_done __user *user)
{
	struct amphion_io_done done;
	long err = -EINVAL;

	if (copy_from_user(&done, user, sizeof(done)))
		return -EFAULT;
	if (done.vcpu >= inst->vcpus)
		return -EINVAL;
	mutex_lock(&inst->request_lock);
	if (inst->taken & BIT(done.vcpu))
		err = complete_slot(inst, done.vcpu, done.data);
	mutex_unlock(&inst->request_lock);
	return err;
}

/* The instance ends and nobody serves it: every access, reported or not, reads as zero. */
void amphion_request_abandon(struct amphion_instance *inst)
{
	u32 vcpu;

	mutex_lock(&inst->request_lock);
	for (vcpu = 0; vcpu < inst->vcpus; vcpu++)
		if (slot_pending(inst, vcpu))
			complete_slot(inst, vcpu, 0);
	mutex_unlock(&inst->request_lock);
}
