// SPDX-License-Identifier: GPL-2.0-only
/*
 * See last_log.h. Debian's armhf kernel has no pstore, so a dumper of our own hands the kernel's last
 * words to the hypervisor.
 */
#include <linux/gfp.h>
#include <linux/kmsg_dump.h>
#include <linux/mm.h>
#include <linux/uaccess.h>

#include "hypercall.h"
#include "last_log.h"

#define WORDS_ORDER 0
#define WORDS_BYTES (PAGE_SIZE << WORDS_ORDER) /* of the newest messages: half of what is kept */

static char *words; /* made early: nothing can be allocated in a panic */

/* In a panic, or an oops after which the kernel may go on: nothing here waits. */
static void amphion_dump(struct kmsg_dumper *dumper, enum kmsg_dump_reason reason)
{
	struct kmsg_dump_iter iter;
	size_t bytes, from;

	kmsg_dump_rewind(&iter);
	if (!kmsg_dump_get_buffer(&iter, false, words, WORDS_BYTES, &bytes))
		return;
	for (from = 0; from < bytes; from += PAGE_SIZE)
		amphion_hvc(AMPHION_HC_LAST_WORDS, virt_to_phys(words + from),
			    min_t(size_t, bytes - from, PAGE_SIZE), 0, NULL);
}

static struct kmsg_dumper amphion_dumper = {.dump = amphion_dump};

int amphion_last_log_init(void)
{
	int err;

	words = (char *)__get_free_pages(GFP_KERNEL, WORDS_ORDER);
	if (!words)
		return -ENOMEM;
	err = kmsg_dump_register(&amphion_dumper);
	if (err)
		free_pages((unsigned long)words, WORDS_ORDER);
	return err;
}

void amphion_last_log_exit(void)
{
	kmsg_dump_unregister(&amphion_dumper);
	free_pages((unsigned long)words, WORDS_ORDER);
}

void amphion_ended_in_order(void)
{
	amphion_call(AMPHION_HC_LAST_WORDS, 0, 0, 0);
}

/* A page of it at most, to the next page's boundary. */
ssize_t amphion_last_log_read(struct file *file, char __user *to, size_t count, loff_t *at)
{
	u32 from = offset_in_page(*at), bytes = 0;
	char *page;
	ssize_t ret;

	if (*at < 0 || *at > S32_MAX)
		return 0;
	page = (char *)get_zeroed_page(GFP_KERNEL);
	if (!page)
		return -ENOMEM;
	ret = amphion_errno(amphion_hvc(AMPHION_HC_LAST_LOG, virt_to_phys(page), *at - from, 0, &bytes));
	if (!ret && *at < bytes) {
		ret = min_t(size_t, count, min_t(u32, bytes - *at, PAGE_SIZE - from));
		if (copy_to_user(to, page + from, ret))
			ret = -EFAULT;
		else
			*at += ret;
	}
	free_page((unsigned long)page);
	return ret;
}
