// SPDX-License-Identifier: GPL-2.0-only
/*
 * Structures that the hypervisor reads from or writes to the bounce page: vCPU, GIC, counter,
 * statistics.
 */
#include <linux/uaccess.h>

#include "hypercall.h"
#include "instance.h"

bool amphion_state_stopped(struct amphion_instance *inst)
{
	const struct amphion_stats *stats = inst->bounce;
	bool stopped;

	mutex_lock(&inst->call_lock);
	stopped = !amphion_call(AMPHION_HC_STATS, inst->id, virt_to_phys(inst->bounce), 0) &&
		  !READ_ONCE(stats->state);
	mutex_unlock(&inst->call_lock);
	return stopped;
}

long amphion_state_get(struct amphion_instance *inst, u32 function, u32 r3, void __user *user,
		       size_t bytes)
{
	long err;

	mutex_lock(&inst->call_lock);
	err = amphion_call(function, inst->id, virt_to_phys(inst->bounce), r3);
	if (!err && copy_to_user(user, inst->bounce, bytes))
		err = -EFAULT;
	mutex_unlock(&inst->call_lock);
	return err;
}

long amphion_state_set(struct amphion_instance *inst, u32 function, u32 r3, const void __user *user,
		       size_t bytes)
{
	long err = -EFAULT;

	mutex_lock(&inst->call_lock);
	if (!copy_from_user(inst->bounce, user, bytes))
		err = amphion_call(function, inst->id, virt_to_phys(inst->bounce), r3);
	mutex_unlock(&inst->call_lock);
	return err;
}

/* vCPU calls have their number in r2 and the page in r3. */
long amphion_state_vcpu_get(struct amphion_instance *inst, struct amphion_vcpu_io __user *user)
{
	u32 vcpu;
	long err;

	if (get_user(vcpu, &user->vcpu))
		return -EFAULT;
	if (vcpu >= inst->vcpus)
		return -EINVAL;
	mutex_lock(&inst->call_lock);
	err = amphion_call(AMPHION_HC_VCPU_GET, inst->id, vcpu, virt_to_phys(inst->bounce));
	if (!err && copy_to_user(&user->state, inst->bounce, sizeof(user->state)))
		err = -EFAULT;
	mutex_unlock(&inst->call_lock);
	return err;
}

long amphion_state_vcpu_set(struct amphion_instance *inst,
			    const struct amphion_vcpu_io __user *user)
{
	long err = -EFAULT;
	u32 vcpu;

	if (get_user(vcpu, &user->vcpu))
		return -EFAULT;
	if (vcpu >= inst->vcpus)
		return -EINVAL;
	mutex_lock(&inst->call_lock);
	if (!copy_from_user(inst->bounce, &user->state, sizeof(user->state)))
		err = amphion_call(AMPHION_HC_VCPU_SET, inst->id, vcpu, virt_to_phys(inst->bounce));
	mutex_unlock(&inst->call_lock);
	return err;
}
