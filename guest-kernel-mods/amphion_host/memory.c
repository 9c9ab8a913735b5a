// SPDX-License-Identifier: GPL-2.0-only
/*
 * The instance's memory: mappings that populate on touch, discarding, the dirty log and the page
 * bitmaps. The pages are the hypervisor's; the host's kernel has no struct page for them.
 */
#include <linux/bitmap.h>
#include <linux/sched.h>
#include <linux/uaccess.h>

#include "hypercall.h"
#include "instance.h"

#define DROP_PAGES 16384u

/*
 * One page a fault, though its neighbours may have memory: what the host asks for counts as written
 * while the log is on, and is no longer taken back at the instance's bound when it holds zeros
 * (hyp/stage2.hpp). A mapping that the hypervisor does not know of could outlive its page.
 */
static vm_fault_t amphion_fault(struct vm_fault *vmf)
{
	struct amphion_instance *inst = vmf->vma->vm_file->private_data;
	vm_fault_t result = VM_FAULT_SIGBUS;
	u32 pfn;

	if (vmf->pgoff >= inst->memory_pages)
		return VM_FAULT_SIGBUS;
	mutex_lock(&inst->memory_lock);
	if (!amphion_hvc(AMPHION_HC_PAGE, inst->id, vmf->pgoff, 0, &pfn))
		result = vmf_insert_pfn(vmf->vma, vmf->address, pfn);
	mutex_unlock(&inst->memory_lock);
	return result;
}

static const struct vm_operations_struct amphion_vm_ops = {
	.fault = amphion_fault,
};

/* The page is the module's own, and lives as long as the file that the mapping holds. */
static int map_registers(const struct amphion_instance *inst, struct vm_area_struct *vma)
{
	return remap_pfn_range(vma, vma->vm_start, virt_to_phys(inst->registers) >> PAGE_SHIFT,
			       PAGE_SIZE, vma->vm_page_prot);
}

int amphion_memory_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct amphion_instance *inst = file->private_data;
	unsigned long pages = vma_pages(vma);

	if (!(vma->vm_flags & VM_SHARED) || (vma->vm_flags & VM_EXEC))
		return -EINVAL;
	vma->vm_flags &= ~VM_MAYEXEC;
	if (pages == 1 && vma->vm_pgoff == inst->memory_pages)
		return map_registers(inst, vma);
	if (pages > inst->memory_pages || vma->vm_pgoff > inst->memory_pages - pages)
		return -EINVAL;
	vma->vm_flags |= VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP;
	vma->vm_ops = &amphion_vm_ops;
	return 0;
}

static bool range_valid(const struct amphion_instance *inst, u32 first, u32 pages)
{
	return pages && pages <= inst->memory_pages && first <= inst->memory_pages - pages;
}

/*
 * Frees pages that are mapped nowhere. The hypervisor lets this CPU's interrupts in meanwhile; others that want to run
 * here get their turn between two pieces.
 */
int amphion_memory_drop(struct amphion_instance *inst, u32 first_page, u32 pages)
{
	int err = 0;
	u32 piece;

	for (; pages && !err; first_page += piece, pages -= piece) {
		piece = min(pages, DROP_PAGES);
		err = amphion_call(AMPHION_HC_DISCARD, inst->id, first_page, piece);
		cond_resched();
	}
	return err;
}

long amphion_memory_discard(struct amphion_instance *inst, struct address_space *mapping,
			    const struct amphion_range __user *user)
{
	struct amphion_range range;
	long err;

	if (copy_from_user(&range, user, sizeof(range)))
		return -EFAULT;
	if (!range_valid(inst, range.first_page, range.pages))
		return -EINVAL;
	mutex_lock(&inst->memory_lock);
	unmap_mapping_range(mapping, (loff_t)range.first_page << PAGE_SHIFT,
			    (loff_t)range.pages << PAGE_SHIFT, 1);
	err = amphion_memory_drop(inst, range.first_page, range.pages);
	mutex_unlock(&inst->memory_lock);
	return err;
}

long amphion_memory_log(struct amphion_instance *inst, const u32 __user *user)
{
	u32 start;
	long err;

	if (get_user(start, user))
		return -EFAULT;
	if (start > 1)
		return -EINVAL;
	mutex_lock(&inst->call_lock);
	err = amphion_call(AMPHION_HC_LOG, inst->id, start, 0);
	if (!err)
		bitmap_zero(inst->dirty, inst->memory_pages);
	mutex_unlock(&inst->call_lock);
	return err;
}

/*
 * One block of AMPHION_BITMAP_PAGES. Fetching dirty bits clears them all, so those that are not
 * asked for, or cannot be handed over, are kept in inst->dirty.
 */
static long bitmap_block(struct amphion_instance *inst, const struct amphion_bitmap *args,
			 u32 block, u32 first, u32 pages)
{
	unsigned long *kept = inst->dirty + BIT_WORD(block);
	u32 skipped = first - block;
	const unsigned long *source;
	void __user *user;
	long err;

	err = amphion_call(AMPHION_HC_BITMAP, inst->id, block | args->kind,
			   virt_to_phys(inst->bounce));
	if (err)
		return err;
	source = inst->bounce;
	if (args->kind == AMPHION_BITMAP_DIRTY) {
		bitmap_or(kept, kept, inst->bounce, AMPHION_BITMAP_PAGES);
		source = kept;
	}
	user = (void __user *)(uintptr_t)(args->bits + (first - args->first_page) / 8);
	if (copy_to_user(user, source + BIT_WORD(skipped), pages / 8))
		return -EFAULT;
	if (args->kind == AMPHION_BITMAP_DIRTY)
		bitmap_clear(kept, skipped, pages);
	return 0;
}

long amphion_memory_bitmap(struct amphion_instance *inst, const struct amphion_bitmap __user *user)
{
	struct amphion_bitmap args;
	u32 first, end, pages;
	long err = 0;

	if (copy_from_user(&args, user, sizeof(args)))
		return -EFAULT;
	if (args.kind > AMPHION_BITMAP_DIRTY || args.first_page % 32 || args.pages % 32 ||
	    args.bits > ULONG_MAX || !range_valid(inst, args.first_page, args.pages))
		return -EINVAL;
	end = args.first_page + args.pages;
	mutex_lock(&inst->call_lock);
	for (first = args.first_page; first < end && !err; first += pages) {
		u32 block = round_down(first, AMPHION_BITMAP_PAGES);

		pages = min(end, block + AMPHION_BITMAP_PAGES) - first;
		err = bitmap_block(inst, &args, block, first, pages);
	}
	mutex_unlock(&inst->call_lock);
	return err;
}
