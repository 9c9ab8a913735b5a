// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's PL011, which the hypervisor holds: bytes that were sent, bytes for the guest, and its
 * registers. All pass through the bounce page.
 */
#include <linux/uaccess.h>

#include "hypercall.h"
#include "instance.h"

static s32 amphion_uart_call(struct amphion_instance *inst, u32 what, u32 *result)
{
	return amphion_hvc(AMPHION_HC_UART, inst->id, what, virt_to_phys(inst->bounce), result);
}

/* What cannot be handed over is lost: the address is tried before anything is taken. */
long amphion_serial_take(struct amphion_instance *inst, struct amphion_bytes __user *user)
{
	const struct amphion_bytes *bytes = inst->bounce;
	long err;

	if (clear_user(user, sizeof(*user)))
		return -EFAULT;
	mutex_lock(&inst->call_lock);
	err = amphion_errno(amphion_uart_call(inst, AMPHION_UART_TAKE, NULL));
	if (!err && copy_to_user(user, bytes, offsetof(struct amphion_bytes, data) + bytes->count))
		err = -EFAULT;
	mutex_unlock(&inst->call_lock);
	return err;
}

long amphion_serial_give(struct amphion_instance *inst, struct amphion_bytes __user *user)
{
	long err = -EFAULT;
	u32 taken = 0;

	mutex_lock(&inst->call_lock);
	if (!copy_from_user(inst->bounce, user, sizeof(*user)))
		err = amphion_errno(amphion_uart_call(inst, AMPHION_UART_GIVE, &taken));
	mutex_unlock(&inst->call_lock);
	if (err)
		return err;
	return put_user(taken, &user->count);
}

long amphion_serial_get(struct amphion_instance *inst, struct amphion_uart __user *user)
{
	long err;

	mutex_lock(&inst->call_lock);
	err = amphion_errno(amphion_uart_call(inst, AMPHION_UART_GET, NULL));
	if (!err && copy_to_user(user, inst->bounce, sizeof(*user)))
		err = -EFAULT;
	mutex_unlock(&inst->call_lock);
	return err;
}

long amphion_serial_set(struct amphion_instance *inst, const struct amphion_uart __user *user)
{
	long err = -EFAULT;

	mutex_lock(&inst->call_lock);
	if (!copy_from_user(inst->bounce, user, sizeof(*user)))
		err = amphion_errno(amphion_uart_call(inst, AMPHION_UART_SET, NULL));
	mutex_unlock(&inst->call_lock);
	return err;
}
