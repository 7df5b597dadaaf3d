// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec Handover: vmalloc areas.
 */

/**
 * DOC: vmalloc areas
 *
 * The pages of a vmalloc() area are preserved, and their addresses are written
 * into a list of pages of their own. The next kernel maps the pages at another
 * address; what the area holds must not point into itself. A restored area is
 * freed with vfree() and can be preserved again.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <kunit/visibility.h>
#include <linux/export.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "kho_internal.h"

/* Flags that say nothing about how an area's pages were made. */
#define KHO_VM_OK	(VM_ALLOC | VM_MAP | VM_MAP_PUT_PAGES |		\
			 VM_ALLOW_HUGE_VMAP | VM_UNINITIALIZED | VM_KASAN)

static unsigned int kho_area_order(const struct vm_struct *vm)
{
#ifdef CONFIG_HAVE_ARCH_HUGE_VMALLOC
	return vm->page_order;
#else
	return 0;
#endif
}

static struct kho_vmalloc_chunk *kho_chunk_next(struct kho_vmalloc_chunk *chunk)
{
	return chunk->next ? phys_to_virt(chunk->next) : NULL;
}

/* Addresses in a chunk: the last one may be full or end with a zero. */
static unsigned int kho_chunk_nr(const struct kho_vmalloc_chunk *chunk)
{
	unsigned int nr = 0;

	while (nr < KHO_VMALLOC_CHUNK_ENTRIES && chunk->phys[nr])
		nr++;
	return nr;
}

static void kho_unpreserve_chunks(struct kho_vmalloc_chunk *chunk,
				  unsigned int order)
{
	while (chunk) {
		struct kho_vmalloc_chunk *next = kho_chunk_next(chunk);
		unsigned int i;

		unsigned int used = kho_chunk_nr(chunk);

		for (i = 0; i < used; i++)
			kho_unpreserve_pages(pfn_to_page(PHYS_PFN(chunk->phys[i])),
					     1UL << order);
		kho_unpreserve_free(chunk);
		chunk = next;
	}
}

static int kho_preserve_area(const struct vm_struct *vm, unsigned int order,
			     struct kho_vmalloc_chunk **first)
{
	struct kho_vmalloc_chunk *chunk = NULL;
	unsigned int i, used = KHO_VMALLOC_CHUNK_ENTRIES;
	int err;

	for (i = 0; i < vm->nr_pages; i += 1U << order) {
		if (used == KHO_VMALLOC_CHUNK_ENTRIES) {
			struct kho_vmalloc_chunk *new;

			new = kho_alloc_preserve(sizeof(*new));
			if (IS_ERR(new))
				return PTR_ERR(new);
			if (chunk)
				chunk->next = virt_to_phys(new);
			else
				*first = new;
			chunk = new;
			used = 0;
		}
		err = kho_preserve_pages(vm->pages[i], 1UL << order);
		if (err)
			return err;
		chunk->phys[used++] = page_to_phys(vm->pages[i]);
	}
	return 0;
}

/**
 * kho_preserve_vmalloc - preserve an area from vmalloc() or vmalloc_huge()
 * @ptr:          the area
 * @preservation: filled in; to be handed to the next kernel
 *
 * Context: may sleep. The area must not be freed until
 * kho_unpreserve_vmalloc().
 * Return: 0; -EINVAL if @ptr is not such an area; or an error of
 * kho_preserve_pages() and kho_alloc_preserve(). Nothing is preserved then.
 */
int kho_preserve_vmalloc(void *ptr, struct kho_vmalloc *preservation)
{
	struct vm_struct *vm = find_vm_area(ptr);
	struct kho_vmalloc_chunk *first = NULL;
	unsigned int order;
	u16 flags = KHO_VMALLOC_ALLOC;
	int err;

	if (!kho_is_enabled())
		return -EOPNOTSUPP;
	if (!vm || !vm->pages || !vm->nr_pages || (vm->flags & ~KHO_VM_OK) ||
	    !(vm->flags & (VM_ALLOC | VM_MAP_PUT_PAGES)))
		return -EINVAL;

	order = kho_area_order(vm);
	if (vm->flags & VM_ALLOW_HUGE_VMAP)
		flags |= KHO_VMALLOC_HUGE_VMAP;

	err = kho_preserve_area(vm, order, &first);
	if (err) {
		kho_unpreserve_chunks(first, order);
		return err;
	}
	*preservation = (struct kho_vmalloc) {
		.first = virt_to_phys(first),
		.total_pages = vm->nr_pages,
		.flags = flags,
		.order = order,
	};
	return 0;
}
EXPORT_SYMBOL_GPL(kho_preserve_vmalloc);

/**
 * kho_unpreserve_vmalloc - undo kho_preserve_vmalloc()
 * @preservation: what it filled in; cleared
 *
 * Context: may sleep.
 */
void kho_unpreserve_vmalloc(struct kho_vmalloc *preservation)
{
	if (preservation->first)
		kho_unpreserve_chunks(phys_to_virt(preservation->first),
				      preservation->order);
	*preservation = (struct kho_vmalloc) {};
}
EXPORT_SYMBOL_GPL(kho_unpreserve_vmalloc);

/*
 * Check a descriptor from the previous kernel against the page map, as far as
 * it can be followed. Nothing has been restored when this fails.
 */
VISIBLE_IF_KUNIT bool kho_vmalloc_valid(const struct kho_vmalloc *desc)
{
	u64 phys = desc->first;
	unsigned long left = desc->total_pages;

	if (!left || desc->order > MAX_PAGE_ORDER ||
	    !IS_ALIGNED(left, 1UL << desc->order) ||
	    (desc->flags & ~(KHO_VMALLOC_ALLOC | KHO_VMALLOC_HUGE_VMAP)))
		return false;

	/* Every chunk accounts for pages, so a circle ends, too. */
	while (left) {
		struct kho_vmalloc_chunk *chunk;
		unsigned int used, i;

		if (!kho_is_preserved(phys, 0))
			return false;
		chunk = phys_to_virt(phys);
		used = kho_chunk_nr(chunk);
		for (i = 0; i < used; i++) {
			if (!left || !kho_is_preserved(chunk->phys[i],
						       desc->order))
				return false;
			left -= 1UL << desc->order;
		}
		if (!used)
			return false;
		phys = chunk->next;
	}
	return !phys;
}

/* Returns whether all pages are there; what is not leaves a NULL. */
static bool kho_restore_area(const struct kho_vmalloc *desc,
			     struct page **pages)
{
	struct kho_vmalloc_chunk *chunk = phys_to_virt(desc->first);
	unsigned int nr = 1U << desc->order, n = 0, used, i, j;
	bool ok = true;

	while (chunk) {
		struct kho_vmalloc_chunk *next = kho_chunk_next(chunk);

		used = kho_chunk_nr(chunk);
		for (i = 0; i < used; i++) {
			struct page *page;

			page = kho_restore_pages(chunk->phys[i], nr);
			ok &= !!page;
			for (j = 0; j < nr; j++)
				pages[n++] = page ? page + j : NULL;
		}
		kho_restore_free(chunk);
		chunk = next;
	}
	return ok;
}

/**
 * kho_restore_vmalloc - take a preserved vmalloc area back
 * @preservation: what the previous kernel's kho_preserve_vmalloc() filled in
 *
 * Context: may sleep; from core_initcall on.
 * Return: the area, at another address, freed with vfree(); %NULL without
 * memory for it (it stays preserved) or if the descriptor does not describe
 * preserved pages.
 */
void *kho_restore_vmalloc(const struct kho_vmalloc *preservation)
{
	unsigned int i, nr = preservation->total_pages;
	struct page **pages;
	void *addr = NULL;

	if (!kho_vmalloc_valid(preservation)) {
		pr_err("vmalloc descriptor at %#llx, %u pages of order %u, does not fit what is preserved\n",
		       preservation->first, nr, preservation->order);
		return NULL;
	}
	pages = kvmalloc_array(nr, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return NULL;

	if (kho_restore_area(preservation, pages))
		addr = vmap(pages, nr, VM_MAP | VM_MAP_PUT_PAGES, PAGE_KERNEL);
	if (addr)
		return addr;

	for (i = 0; i < nr; i++)
		if (pages[i])
			__free_page(pages[i]);
	kvfree(pages);
	return NULL;
}
EXPORT_SYMBOL_GPL(kho_restore_vmalloc);
